// More about a number: on pointing, focus and tap; Escape closes it.
const tip = document.getElementById('tip');
let owner = null, closing = 0;
function tell(button) {
  clearTimeout(closing);
  owner = button;
  tip.textContent = button.getAttribute('aria-description');
  if (!tip.matches(':popover-open')) tip.showPopover();
  place();
}
function place() {
  const at = owner.getBoundingClientRect(), box = tip.getBoundingClientRect();
  const below = at.bottom + 6 + box.height < innerHeight;
  tip.style.top = (below ? at.bottom + 6 : Math.max(4, at.top - box.height - 6)) + 'px';
  tip.style.left = Math.max(4, Math.min(at.left, document.documentElement.clientWidth - box.width - 4)) + 'px';
}
function hush() { clearTimeout(closing); owner = null; tip.hidePopover(); }
function hushSoon() { clearTimeout(closing); closing = setTimeout(hush, 150); }
for (const button of document.querySelectorAll('.told')) {
  button.addEventListener('pointerenter', () => tell(button));
  button.addEventListener('pointerleave', () => document.activeElement === button || hushSoon());
  button.addEventListener('focus', () => tell(button));
  button.addEventListener('click', () => tell(button));  // Safari gives no focus to a tapped button
  button.addEventListener('blur', hush);
}
tip.addEventListener('pointerenter', () => clearTimeout(closing));
tip.addEventListener('pointerleave', hushSoon);
addEventListener('keydown', event => { if (event.key === 'Escape') hush(); });
addEventListener('scroll', () => { if (owner) place(); }, {passive: true, capture: true});
addEventListener('pointerdown', event => { if (owner && !event.target.closest('.told, #tip')) hush(); });

// A figure as a file, dark on white whatever the page's colours are.
for (const button of document.querySelectorAll('[data-save]')) {
  const figure = button.closest('figure');
  button.addEventListener('click', () => {
    const {data, layout} = figure.querySelector('.js-plotly-plot');
    const paper = {...layout, width: undefined, paper_bgcolor: '#fff', plot_bgcolor: '#fff', font: {...layout.font, color: '#111'}};
    Plotly.downloadImage({data, layout: paper}, {
      format: button.dataset.save, filename: figure.dataset.name, width: 900, height: layout.height, scale: 3,
    });
  });
}

// Blurred answers, and which of them are listed.
for (const hidden of document.querySelectorAll('button.blur'))
  hidden.addEventListener('click', () => { hidden.classList.add('open'); hidden.removeAttribute('aria-label'); });
const rows = [...document.querySelectorAll('article')], chosen = [...document.querySelectorAll('.filters select')];
const more = document.getElementById('more'), STEP = 20;
let limit = STEP;
function list() {
  const fitting = rows.filter(row => chosen.every(select => !select.value || row.dataset[select.dataset.key] === select.value));
  const listed = new Set(fitting.slice(0, limit));
  for (const row of rows) row.hidden = !listed.has(row);
  document.getElementById('count').textContent = `${listed.size} shown of ${fitting.length}` + (fitting.length < rows.length ? `, ${rows.length} in all` : '');
  more.hidden = listed.size === fitting.length;
}
if (rows.length) {
  for (const select of chosen) select.addEventListener('change', () => { limit = STEP; list(); });
  const reveal = id => {  // an answer that a link leads to, whatever is listed
    const at = rows.indexOf(document.getElementById(id)?.closest('article'));
    if (at < 0 || !rows[at].hidden) return;
    for (const select of chosen) select.value = '';
    limit = Math.max(limit, at + 1);
    list();
  };
  for (const link of document.querySelectorAll('a[href^="#"]'))
    link.addEventListener('click', () => reveal(link.getAttribute('href').slice(1)));
  more.addEventListener('click', () => {
    const first = limit;
    limit += STEP;
    list();
    rows.filter(row => !row.hidden)[first].querySelector('button').focus({preventScroll: true});
  });
  list();
  reveal(location.hash.slice(1));
}

// On a phone the names of rows are broken, so that they leave room for the numbers.
addEventListener('load', () => {
  if (innerWidth > 600) return;
  for (const plot of document.querySelectorAll('.js-plotly-plot')) {
    const names = [...new Set(plot.data.flatMap(part => part.y ?? []))];
    if (names.length && names.every(name => typeof name === 'string')) {
      const broken = names.map(name => name.replace(/<br>/g, ' ').replace(/ (?=.$)/, '\u00a0').replace(/(\S.{9,16}?) /g, '$1<br>'));
      const lines = Math.max(...broken.map(name => name.split('<br>').length));
      const height = names.length * (10 + 12 * lines) + 130;
      plot.parentElement.style.height = height + 'px';
      Plotly.relayout(plot, {
        height, 'yaxis.tickvals': names, 'yaxis.ticktext': broken, 'yaxis.tickfont.size': 10, 'xaxis.title.font.size': 11,
      });
    }
  }
});

// On paper everything is open and as wide as the sheet.
let opened = [];
addEventListener('beforeprint', () => {
  opened = [...document.querySelectorAll('details:not([open])')];
  for (const part of opened) part.open = true;
  for (const plot of document.querySelectorAll('.js-plotly-plot')) Plotly.relayout(plot, {width: 660});
});
addEventListener('afterprint', () => {
  for (const part of opened) part.open = false;
  for (const plot of document.querySelectorAll('.js-plotly-plot')) Plotly.relayout(plot, {width: null, autosize: true});
});

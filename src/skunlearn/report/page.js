// The explanation of a number: shown on pointing, focus and tap; Escape closes it.
const tip = document.getElementById('tip');
let shownFor = null;  // the button whose explanation is shown
let closing = 0;      // timer that is about to hide it
function showTip(button) {
  clearTimeout(closing);
  shownFor = button;
  tip.textContent = button.getAttribute('aria-description');
  if (!tip.matches(':popover-open')) tip.showPopover();
  placeTip();
}
function placeTip() {
  const button = shownFor.getBoundingClientRect(), box = tip.getBoundingClientRect();
  const fitsBelow = button.bottom + 6 + box.height < innerHeight;
  tip.style.top = (fitsBelow ? button.bottom + 6 : Math.max(4, button.top - box.height - 6)) + 'px';
  tip.style.left = Math.max(4, Math.min(button.left, document.documentElement.clientWidth - box.width - 4)) + 'px';
}
function hideTip() {
  clearTimeout(closing);
  shownFor = null;
  tip.hidePopover();
}
// The delay lets the pointer move from the button into the explanation.
function hideTipSoon() {
  clearTimeout(closing);
  closing = setTimeout(hideTip, 150);
}
for (const button of document.querySelectorAll('.explained')) {
  button.addEventListener('pointerenter', () => showTip(button));
  button.addEventListener('pointerleave', () => document.activeElement === button || hideTipSoon());
  button.addEventListener('focus', () => showTip(button));
  button.addEventListener('click', () => showTip(button));  // Safari does not focus a tapped button
  button.addEventListener('blur', hideTip);
}
tip.addEventListener('pointerenter', () => clearTimeout(closing));
tip.addEventListener('pointerleave', hideTipSoon);
addEventListener('keydown', event => { if (event.key === 'Escape') hideTip(); });
addEventListener('scroll', () => { if (shownFor) placeTip(); }, {passive: true, capture: true});
addEventListener('pointerdown', event => {
  if (shownFor && !event.target.closest('.explained, #tip')) hideTip();
});

// Save a figure as a file: dark on white, whatever the colours of the page are.
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

// Blurred answers open one by one.
for (const blurred of document.querySelectorAll('button.blur')) {
  blurred.addEventListener('click', () => {
    blurred.classList.add('open');
    blurred.removeAttribute('aria-label');
  });
}

// The list of answers: the first ones that match the filters, more on request.
const rows = [...document.querySelectorAll('article')];
const filters = [...document.querySelectorAll('.filters select')];
const more = document.getElementById('more');
const STEP = 20;
let limit = STEP;
function listAnswers() {
  const matches = row => filters.every(filter => !filter.value || row.dataset[filter.dataset.key] === filter.value);
  const matching = rows.filter(matches);
  const listed = new Set(matching.slice(0, limit));
  for (const row of rows) row.hidden = !listed.has(row);
  const inAll = matching.length < rows.length ? `, ${rows.length} in all` : '';
  document.getElementById('count').textContent = `${listed.size} shown of ${matching.length}${inAll}`;
  more.hidden = listed.size === matching.length;
}
// List an answer that a link leads to, whatever the filters are.
function reveal(id) {
  const number = rows.indexOf(document.getElementById(id)?.closest('article'));
  if (number < 0 || !rows[number].hidden) return;
  for (const filter of filters) filter.value = '';
  limit = Math.max(limit, number + 1);
  listAnswers();
}
if (rows.length) {
  for (const filter of filters) {
    filter.addEventListener('change', () => {
      limit = STEP;
      listAnswers();
    });
  }
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    link.addEventListener('click', () => reveal(link.getAttribute('href').slice(1)));
  }
  more.addEventListener('click', () => {
    const firstNew = limit;
    limit += STEP;
    listAnswers();
    rows.filter(row => !row.hidden)[firstNew].querySelector('button').focus({preventScroll: true});
  });
  listAnswers();
  reveal(location.hash.slice(1));
}

// On a phone, break the names of rows into lines, so that they leave room for the numbers.
addEventListener('load', () => {
  if (innerWidth > 600) return;
  for (const plot of document.querySelectorAll('.js-plotly-plot')) {
    const names = [...new Set(plot.data.flatMap(trace => trace.y ?? []))];
    const hasNames = names.length && names.every(name => typeof name === 'string');
    if (!hasNames) continue;
    // One line again; the arrow at the end stays with the word before it; a break every 10 to 17 letters.
    const broken = names.map(name => name.replace(/<br>/g, ' ').replace(/ (?=.$)/, '\u00a0').replace(/(\S.{9,16}?) /g, '$1<br>'));
    const lines = Math.max(...broken.map(name => name.split('<br>').length));
    const height = names.length * (10 + 12 * lines) + 130;
    plot.parentElement.style.height = height + 'px';
    Plotly.relayout(plot, {
      height, 'yaxis.tickvals': names, 'yaxis.ticktext': broken, 'yaxis.tickfont.size': 10, 'xaxis.title.font.size': 11,
    });
  }
});

// On paper everything is unfolded, and figures are as wide as the sheet.
let unfolded = [];
addEventListener('beforeprint', () => {
  unfolded = [...document.querySelectorAll('details:not([open])')];
  for (const details of unfolded) details.open = true;
  for (const plot of document.querySelectorAll('.js-plotly-plot')) Plotly.relayout(plot, {width: 660});
});
addEventListener('afterprint', () => {
  for (const details of unfolded) details.open = false;
  for (const plot of document.querySelectorAll('.js-plotly-plot')) Plotly.relayout(plot, {width: null, autosize: true});
});

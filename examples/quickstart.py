"""The library in eight lines, with the built-in model and data: about ten minutes on two CPU cores.

python examples/quickstart.py
"""

import skunlearn as sk

lm = sk.load("smollm2-135m")
data = sk.Data()
tau = sk.train(lm, sk.SKU(pd_mode="preserve"), data)
before = sk.evaluate(lm, data.test)
lm.apply(-0.8 * tau)
after = sk.evaluate(lm, data.test, base=before)
lm.save("smollm2-unlearned")
print(before, after, sep="\n\n")

"""Writes test/fixtures/math/*.json: reference values of special functions, distributions and the Adam optimiser.

Sources: mpmath with 40 digits (special functions, derivative of a Gamma draw), torch.distributions and
torch._standard_gamma_grad in double precision (Dirichlet, derivative of a Gamma draw), torch.optim.Adam, scipy (quantiles of Gamma).
Needs mpmath, scipy and torch. Run from the root: python scripts/golden/special_functions.py
"""

import json
import math
from pathlib import Path

import mpmath
import scipy
import torch
from scipy import stats
from torch.distributions import Dirichlet, Gamma, kl_divergence

OUT = Path("test/fixtures/math")
mpmath.mp.dps = 40
torch.set_default_dtype(torch.float64)


def special_functions():
    """x, ln Γ, ψ, ψ′: the whole range on a logarithmic grid, and the neighbourhoods of zeros of ln Γ and ψ."""
    xs = [10 ** (-6 + i / 4) for i in range(49)]
    xs += [0.5, 0.9, 0.999999, 1 + 1e-9, 1.000001, 1.25, 1.45, 1.4616, 1.46163, 1.462, 1.5, 1.75]
    xs += [1.999999, 2 - 1e-9, 2.000001, 2.5, 3.0, 5.5, 7.9, 8.1, 12.3, 33.3, 170.5]
    rows = [[x, float(mpmath.loggamma(x)), float(mpmath.digamma(x)), float(mpmath.psi(1, x))] for x in xs]
    return {"source": f"mpmath {mpmath.__version__}, 40 digits", "columns": ["x", "logGamma", "digamma", "trigamma"], "rows": rows}


def lower_mass(a, z):
    """Unnormalised lower incomplete gamma function's regularised form P(a, z), by its all-positive series."""
    a, z = mpmath.mpf(a), mpmath.mpf(z)
    term = total = 1 / mpmath.gamma(a + 1)
    k = 0
    while term > total * mpmath.mpf(10) ** -(mpmath.mp.dps + 5):
        k += 1
        term *= z / (a + k)
        total += term
    return total * mpmath.exp(a * mpmath.log(z) - z)


def log_draw_derivative(a, z):
    """d ln z/da = -(dP/da)/(z p), P differentiated numerically with far more digits than are kept."""
    with mpmath.workdps(160):
        a, z = mpmath.mpf(a), mpmath.mpf(z)
        h = mpmath.mpf(10) ** -50
        slope = (lower_mass(a + h, z) - lower_mass(a - h, z)) / (2 * h)
        density = mpmath.exp((a - 1) * mpmath.log(z) - z) / mpmath.gamma(a)
        return float(-slope / (z * density))


def gamma_draws():
    """Shape, draw, d ln z/da by mpmath and, where torch is meant to be used, by torch."""
    rows = []
    for a in [1e-4, 1e-3, 0.01, 0.05, 0.1, 0.3, 0.7, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 49.0, 51.0, 100.0, 1000.0, 1e5]:
        quantiles = torch.tensor([1e-6, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-9])
        for q in quantiles.tolist():
            z = quantile(a, q)
            if z < 1e-290:
                continue
            torch_value = None
            # Farther out torch's own approximation is off by up to 4e-3.
            if 0.05 <= a <= 100 and 0.01 <= q <= 0.99:
                torch_value = torch._standard_gamma_grad(torch.tensor(a), torch.tensor(z)).item() / z
            rows.append([a, z, log_draw_derivative(a, z), torch_value])
    return {
        "source": f"mpmath {mpmath.__version__}; torch {torch.__version__}: torch._standard_gamma_grad / z",
        "columns": ["shape", "value", "logDerivative", "torch"],
        "rows": rows,
    }


def quantile(a, q):
    """Rough inverse of the cdf (bisection in ln z): the golden values are for this z, whatever its quantile is exactly."""
    low, high = -1e4, math.log(a + 60 + 12 * math.sqrt(a))
    if a < 1e-2:  # P(a, z) is z^a / gamma(a + 1) down there
        low = (math.log(q) + math.lgamma(a + 1)) / a - 1
        if low < -650:
            return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        below = torch.special.gammainc(torch.tensor(a), torch.tensor(math.exp(middle))).item() < q
        low, high = (middle, high) if below else (low, middle)
    return float(f"{math.exp((low + high) / 2):.6g}")


def gamma_deciles():
    """ln of the deciles of Gamma(shape, 1), for a test of the sampler's distribution."""
    rows = []
    for a in [1e-4, 0.01, 0.1, 0.5, 1.0, 1.7, 30.0, 5000.0]:
        z = stats.gamma.ppf([i / 10 for i in range(1, 10)], a)
        # Where z is too small to be held, P(a, z) is z^a / gamma(a + 1).
        logs = [math.log(v) if v > 1e-300 else (math.log(i / 10) + math.lgamma(a + 1)) / a for i, v in enumerate(z, 1)]
        rows.append([a, logs])
    return {"source": f"scipy {scipy.__version__}: log(scipy.stats.gamma.ppf)", "columns": ["shape", "logDeciles"], "rows": rows}


def dirichlets():
    """Moments, entropy, log density and its gradient, KL and its gradient by autograd."""
    torch.manual_seed(0)
    cases = []
    for q, p in [
        ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0]),
        ([0.5, 1.5, 3.0], [2.0, 2.0, 2.0]),
        ([0.05, 0.2, 7.0, 40.0], [0.1, 0.1, 0.1, 0.1]),
        ([12.0, 0.7], [1.0, 3.0]),
        ([0.3 + 0.4 * i for i in range(20)], [0.01 + 0.2 * (i % 5) for i in range(20)]),
        ([1500.0, 20.0, 0.3], [10.0, 1.0, 1.0]),
    ]:
        phi = torch.tensor(q, requires_grad=True)
        first, second = Dirichlet(phi), Dirichlet(torch.tensor(p))
        kl = kl_divergence(first, second)
        (kl_gradient,) = torch.autograd.grad(kl, phi)
        shares = torch.tensor([1.0 + i % 3 for i in range(len(q))])
        shares = shares / shares.sum()
        density = Dirichlet(phi).log_prob(shares)
        (score,) = torch.autograd.grad(density, phi)
        cases.append(
            {
                "q": q,
                "p": p,
                "mean": first.mean.tolist(),
                "variance": first.variance.tolist(),
                "entropy": first.entropy().item(),
                "shares": shares.tolist(),
                "logDensity": density.item(),
                "score": score.tolist(),
                "kl": kl.item(),
                "klGradient": kl_gradient.tolist(),
            }
        )
    return {"source": f"torch {torch.__version__}, torch.distributions in double precision", "cases": cases}


def pullbacks():
    """Gamma draws z, a gradient g with respect to the shares s = z/sum(z), and its pullback to the shapes by autograd."""
    torch.manual_seed(1)
    cases = []
    for shapes in [[0.6, 1.0, 2.5], [0.2, 0.2, 4.0, 9.0, 0.7], [3.0] * 8]:
        alpha = torch.tensor(shapes, requires_grad=True)
        z = Gamma(alpha, torch.ones(len(shapes))).rsample()
        g = torch.randn(len(shapes))
        (pulled,) = torch.autograd.grad((z / z.sum() * g).sum(), alpha)
        cases.append({"shapes": shapes, "draws": z.tolist(), "gradient": g.tolist(), "pulled": pulled.tolist()})
    return {"source": f"torch {torch.__version__}, Gamma.rsample in double precision", "cases": cases}


def adam():
    """Twenty steps on an ill-conditioned quadratic with a cosine term; gradients are recorded and fed to both."""
    runs = []
    for options in [{"lr": 0.1}, {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-4}]:
        start = [1.0, -2.0, 0.5, 3.0]
        curvature = torch.tensor([1.0, 10.0, 100.0, 1e-4])
        x = torch.tensor(start, requires_grad=True)
        optimiser = torch.optim.Adam([x], **options)
        gradients, trajectory = [], []
        for _ in range(20):
            optimiser.zero_grad()
            ((curvature * x * x).sum() / 2 + torch.cos(3 * x).sum()).backward()
            gradients.append(x.grad.tolist())
            optimiser.step()
            trajectory.append(x.tolist())
        runs.append({"options": options, "start": start, "gradients": gradients, "trajectory": trajectory})
    return {"source": f"torch {torch.__version__}, torch.optim.Adam in double precision", "runs": runs}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, content in [
        ("special-functions", special_functions()),
        ("gamma-draws", gamma_draws()),
        ("gamma-deciles", gamma_deciles()),
        ("dirichlet", dirichlets()),
        ("dirichlet-pullback", pullbacks()),
        ("adam", adam()),
    ]:
        (OUT / f"{name}.json").write_text(json.dumps(content).replace("], [", "],\n[") + "\n")


main()

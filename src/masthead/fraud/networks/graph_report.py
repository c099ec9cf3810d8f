"""What training prints, in the article's form."""

from masthead.fraud.networks.graph_training import Outcome
from masthead.fraud.networks.rgcn import Epoch

__all__ = ["epoch_text", "metrics_text"]


def epoch_text(epoch: Epoch) -> str:
    """Return one epoch's line; the loss is that of training rows, f1 that of validation rows.

    >>> epoch_text(Epoch(99, 0.413, 0.1023, 0.3745, 0.4))
    'Epoch 00099 | Time(s) 0.4130 | Loss 0.1023 | f1 0.3745'
    """
    return (
        f"Epoch {epoch.number:05d} | Time(s) {epoch.seconds:.4f} | Loss {epoch.loss:.4f} | f1 {epoch.f1:.4f}"
    )


def metrics_text(outcome: Outcome) -> str:
    """Return the measures on held-out targets, then what network and trees reach each alone."""
    found, counts = outcome.metrics, outcome.metrics["confusion"]
    lines = []
    if outcome.on != "test":
        lines.append(
            f"No labelled test ids: the measures below are those of {found['n_test']:,} validation rows."
        )
    lines += [
        "Metrics",
        "Confusion Matrix:",
        f"{'':18s}{'labels positive':>18s}{'labels negative':>17s}",
        f"{'predicted positive':18s}{counts['tp']:18d}{counts['fp']:17d}",
        f"{'predicted negative':18s}{counts['fn']:18d}{counts['tn']:17d}",
        ", ".join(
            f"{name}: {_number(found[key])}"
            for name, key in (
                ("f1", "f1"),
                ("precision", "precision"),
                ("recall", "recall"),
                ("acc", "accuracy"),
                ("roc", "roc_auc"),
                ("pr", "pr_auc"),
                ("ap", "ap"),
            )
        ),
        "",
        f"{'the same rows, by':34s}{'validation ap':>14s}{'roc':>8s}{'ap':>8s}",
    ]
    used = "+".join(outcome.model.blend)
    for name, one in outcome.members.items():
        text = f"{_NAMES[name]}{' (used)' if name == used else ''}"
        lines.append(
            f"{text:34s}{_number(one['validation_ap']):>14s}{_number(one['roc_auc']):>8s}{_number(one['ap']):>8s}"
        )
    return "\n".join(lines)


_NAMES = {
    "network": "network",
    "trees": "trees with neighbours",
    "own": "trees, own features",
    "network+trees": "network and trees",
    "network+own": "network and own features",
}


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"

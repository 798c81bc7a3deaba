"""What kinds of mistakes a model makes, and what each of them costs.

Source: D. Bolya, S. Foley, J. Hays, J. Hoffman: TIDE: A General Toolbox for Identifying Object
Detection Errors, arXiv:2008.08115, sections 2.2 (types) and 2.3 (oracles).

Letters: D predictions, G annotations, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.matching import IOU_THRESHOLDS
from crispmask.metrics.outcomes import Outcomes
from crispmask.metrics.overlaps import LOWEST_IOU
from crispmask.metrics.weighted_ap import average_precision

ErrorKind = Literal["class", "localisation", "both", "duplicate", "background", "missed"]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)

_FOREGROUND = float(IOU_THRESHOLDS[0])


@dataclass(frozen=True, slots=True)
class TypedErrors:
    """Mistakes at IoU 0.50.

    Attributes:
        ap50: mean AP at IoU 0.50 as it is; -1 without instances.
        gains: what it would gain if the mistakes of one kind alone were put right.
        counts: mistakes of each kind; of `missed` annotations, otherwise predictions.
        num_right: predictions that found an annotation of their class.
    """

    ap50: float
    gains: dict[ErrorKind, float]
    counts: dict[ErrorKind, int]
    num_right: int


@dataclass(frozen=True, slots=True)
class _State:
    """What AP at IoU 0.50 depends on.

    Attributes:
        labels: (D,) classes.
        right: (D,) found an annotation.
        kept: (D,) takes part.
        totals: (K,) annotations of each class.
    """

    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    totals: NDArray[np.int64]


def typed_errors(outcomes: Outcomes) -> TypedErrors:
    """Sorts the mistakes by kind and puts the kinds right, one at a time.

    Args:
        outcomes: of a split.
    """
    kinds, targets = classify(outcomes)
    num_classes = outcomes.num_classes
    partners = outcomes.partners[:, 0]
    alone = ~outcomes.crowd
    state = _State(
        labels=outcomes.labels,
        right=partners >= 0,
        kept=~outcomes.ignored[:, 0],
        totals=np.bincount(outcomes.annotation_labels[alone], minlength=num_classes),
    )
    missed = _missed(outcomes, kinds, targets)
    ap50 = _mean_ap(state, state.totals > 0)
    gains: dict[ErrorKind, float] = {}
    for kind in ERROR_KINDS:
        of_kind = np.flatnonzero(kinds == ERROR_KINDS.index(kind))
        if kind in ("class", "localisation"):
            fixed = _put_right(state, outcomes, of_kind, targets[of_kind])
        elif kind == "missed":
            lost = np.bincount(outcomes.annotation_labels[missed], minlength=num_classes)
            fixed = _State(state.labels, state.right, state.kept, state.totals - lost)
        else:
            fixed = _drop(state, of_kind)
        gains[kind] = _mean_ap(fixed, state.totals > 0) - ap50
    counts: dict[ErrorKind, int] = {
        kind: int((kinds == i).sum()) for i, kind in enumerate(ERROR_KINDS)
    }
    counts["missed"] = int(missed.sum())
    return TypedErrors(ap50, gains, counts, int(state.right.sum()))


def classify(outcomes: Outcomes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The kind of mistake of each prediction, and the annotation it probably meant.

    A prediction that fits several kinds, because it overlaps several annotations, gets the first
    of: localisation, class, duplicate, background, both, in the order of the authors' own tool.

    Returns:
        (D,) position in `ERROR_KINDS`, -1 for what is right or ignored; (D,) annotation, of the
        two kinds `class` and `localisation` alone, else -1.
    """
    num = len(outcomes.scores)
    wrong = (outcomes.partners[:, 0] < 0) & ~outcomes.ignored[:, 0]
    same, of_same = _best_overlap(outcomes, same_class=True)
    other, of_other = _best_overlap(outcomes, same_class=False)
    choices: list[tuple[ErrorKind, NDArray[np.bool_]]] = [
        ("localisation", (same >= LOWEST_IOU) & (same < _FOREGROUND)),
        ("class", other >= _FOREGROUND),
        ("duplicate", same >= _FOREGROUND),
        ("background", np.maximum(same, other) < LOWEST_IOU),
        ("both", np.ones(num, dtype=bool)),
    ]
    kinds = np.full(num, -1, dtype=np.int64)
    for kind, fits in choices:
        kinds[wrong & fits & (kinds < 0)] = ERROR_KINDS.index(kind)
    targets = np.full(num, -1, dtype=np.int64)
    for kind, meant in (("class", of_other), ("localisation", of_same)):
        of_kind = kinds == ERROR_KINDS.index(kind)
        targets[of_kind] = meant[of_kind]
    return kinds, targets


def _best_overlap(
    outcomes: Outcomes, same_class: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(D,) highest IoU with annotations of the same or of other classes, and with which one."""
    mine, theirs = outcomes.pairs.T
    equal = outcomes.labels[mine] == outcomes.annotation_labels[theirs]
    kept = (equal == same_class) & ~outcomes.crowd[theirs]
    mine, theirs, overlaps = mine[kept], theirs[kept], outcomes.overlaps[kept]
    best = np.zeros(len(outcomes.scores))
    meant = np.full(len(outcomes.scores), -1, dtype=np.int64)
    order = np.argsort(overlaps, kind="stable")  # the highest is written last
    best[mine[order]] = overlaps[order]
    meant[mine[order]] = theirs[order]
    return best, meant


def _missed(
    outcomes: Outcomes, kinds: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(G,) annotations that nothing found and that no class or localisation error meant."""
    missed = ~outcomes.crowd
    missed[outcomes.partners[:, 0][outcomes.partners[:, 0] >= 0]] = False
    missed[targets[targets >= 0]] = False
    return missed


def _put_right(
    state: _State, outcomes: Outcomes, wrong: NDArray[np.int64], targets: NDArray[np.int64]
) -> _State:
    """Gives wrong predictions the class and place of the annotation they meant.

    Of several predictions of an annotation, the one that had found it included, the best one
    stays and the others are dropped.

    Args:
        state: as it is.
        outcomes: of the split.
        wrong: positions of predictions, ascending.
        targets: the annotation each of them meant.
    """
    labels, right, kept = state.labels.copy(), state.right.copy(), state.kept.copy()
    labels[wrong] = outcomes.annotation_labels[targets]
    partners = outcomes.partners[:, 0]
    owners = {int(partners[i]): int(i) for i in np.flatnonzero(partners >= 0)}
    kept[wrong] = False
    for i, target in zip(wrong.tolist(), targets.tolist(), strict=True):
        owner = owners.get(target)
        if owner is None or i < owner:  # best score first
            right[i] = kept[i] = True
            if owner is not None:
                right[owner] = kept[owner] = False
            owners[target] = i
    return _State(labels, right, kept, state.totals)


def _drop(state: _State, wrong: NDArray[np.int64]) -> _State:
    kept = state.kept.copy()
    kept[wrong] = False
    return _State(state.labels, state.right, kept, state.totals)


def _mean_ap(state: _State, classes: NDArray[np.bool_]) -> float:
    """Mean AP at IoU 0.50 of the chosen classes; -1 if there are none.

    A class of which the missed annotations are all it had has found nothing: its AP stays 0.
    """
    values = [
        average_precision(
            state.right[state.kept & (state.labels == label)], max(int(state.totals[label]), 1)
        )
        for label in np.flatnonzero(classes)
    ]
    return float(np.mean(values)) if values else -1.0

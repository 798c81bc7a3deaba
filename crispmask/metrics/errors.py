"""What kinds of mistakes a model makes, and what each of them costs.

Source: D. Bolya, S. Foley, J. Hays, J. Hoffman: TIDE: A General Toolbox for Identifying Object
Detection Errors, arXiv:2008.08115, sections 2.2 (types) and 2.3 (oracles).

Letters: P predictions, G annotations, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.average import average_precision
from crispmask.metrics.matches import IOU_LEVELS, LEAST_OVERLAP, Matches

ErrorKind = Literal["class", "localisation", "both", "duplicate", "background", "missed"]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)

_FOREGROUND = float(IOU_LEVELS[0])


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
        labels: (P,) classes.
        right: (P,) found an annotation.
        kept: (P,) takes part.
        totals: (K,) annotations of each class.
    """

    labels: NDArray[np.int64]
    right: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    totals: NDArray[np.int64]


def typed_errors(matches: Matches, num_classes: int) -> TypedErrors:
    """Sorts the mistakes by kind and puts the kinds right, one at a time.

    Args:
        matches: of a split.
        num_classes: K.
    """
    kinds, targets = classify(matches)
    partners = matches.partners[0]
    alone = ~matches.crowd
    state = _State(
        labels=matches.labels,
        right=partners >= 0,
        kept=~matches.ignored[0],
        totals=np.bincount(matches.annotation_labels[alone], minlength=num_classes),
    )
    missed = _missed(matches, kinds, targets)
    ap50 = _mean_ap(state, state.totals > 0)
    gains: dict[ErrorKind, float] = {}
    for kind in ERROR_KINDS:
        of_kind = np.flatnonzero(kinds == ERROR_KINDS.index(kind))
        if kind in ("class", "localisation"):
            fixed = _put_right(state, matches, of_kind, targets[of_kind])
        elif kind == "missed":
            lost = np.bincount(matches.annotation_labels[missed], minlength=num_classes)
            fixed = _State(state.labels, state.right, state.kept, state.totals - lost)
        else:
            fixed = _drop(state, of_kind)
        gains[kind] = _mean_ap(fixed, state.totals > 0) - ap50
    counts: dict[ErrorKind, int] = {
        kind: int((kinds == i).sum()) for i, kind in enumerate(ERROR_KINDS)
    }
    counts["missed"] = int(missed.sum())
    return TypedErrors(ap50, gains, counts, int(state.right.sum()))


def classify(matches: Matches) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The kind of mistake of each prediction, and the annotation it probably meant.

    A prediction that fits several kinds, because it overlaps several annotations, gets the first
    of: localisation, class, duplicate, background, both, in the order of the authors' own tool.

    Returns:
        (P,) position in `ERROR_KINDS`, -1 for what is right or ignored; (P,) annotation, of the
        two kinds `class` and `localisation` alone, else -1.
    """
    num = len(matches.scores)
    wrong = (matches.partners[0] < 0) & ~matches.ignored[0]
    same, of_same = _best_overlap(matches, same_class=True)
    other, of_other = _best_overlap(matches, same_class=False)
    choices: list[tuple[ErrorKind, NDArray[np.bool_]]] = [
        ("localisation", (same >= LEAST_OVERLAP) & (same < _FOREGROUND)),
        ("class", other >= _FOREGROUND),
        ("duplicate", same >= _FOREGROUND),
        ("background", np.maximum(same, other) < LEAST_OVERLAP),
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
    matches: Matches, same_class: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(P,) highest IoU with annotations of the same or of other classes, and with which one."""
    mine, theirs = matches.pairs.T
    equal = matches.labels[mine] == matches.annotation_labels[theirs]
    kept = (equal == same_class) & ~matches.crowd[theirs]
    mine, theirs, overlaps = mine[kept], theirs[kept], matches.overlaps[kept]
    best = np.zeros(len(matches.scores))
    meant = np.full(len(matches.scores), -1, dtype=np.int64)
    order = np.argsort(overlaps, kind="stable")  # the highest is written last
    best[mine[order]] = overlaps[order]
    meant[mine[order]] = theirs[order]
    return best, meant


def _missed(
    matches: Matches, kinds: NDArray[np.int64], targets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(G,) annotations that nothing found and that no class or localisation error meant."""
    missed = ~matches.crowd
    missed[matches.partners[0][matches.partners[0] >= 0]] = False
    missed[targets[targets >= 0]] = False
    return missed


def _put_right(
    state: _State, matches: Matches, wrong: NDArray[np.int64], targets: NDArray[np.int64]
) -> _State:
    """Gives wrong predictions the class and place of the annotation they meant.

    Of several predictions of an annotation, the one that had found it included, the best one
    stays and the others are dropped.

    Args:
        state: as it is.
        matches: of the split.
        wrong: positions of predictions, ascending.
        targets: the annotation each of them meant.
    """
    labels, right, kept = state.labels.copy(), state.right.copy(), state.kept.copy()
    labels[wrong] = matches.annotation_labels[targets]
    partners = matches.partners[0]
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

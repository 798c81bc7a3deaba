from __future__ import annotations

import torch

from crispmask.export.rows import pick, pick_whole


def test_whole_rows_are_those_picked_number_by_number() -> None:
    values = torch.randn(3, 7, 5)
    places = torch.randint(0, 7, (3, 4))
    torch.testing.assert_close(pick_whole(values, places), pick(values, places), rtol=0, atol=0)
    for b in range(3):
        for i in range(4):
            assert torch.equal(pick_whole(values, places)[b, i], values[b, places[b, i]])

"""Ridge regression for one detector, from second moments that are summed up batch by batch.

With the weights q_i and targets t_i of the deciding positions i, and n other positions j:

    C = sum_i q_i x_i x_i^T  +  others / n * sum_j x_j x_j^T
    b = sum_i q_i t_i x_i
    w = (C + ridge * mean(diag C) * I)^-1 b
"""

import torch


class DetectorMoments:
    """The sums of the closed form.

    Attributes:
        deciding_II: weighted second moments of the inputs at the deciding positions.
        target_I: weighted sum of the inputs there, each times its target: b.
        others_II: second moments of the inputs at all other positions.
        others: how many other positions there were: n.
        output_square: a sum for the caller, of the weighted mean squares of the layer's outputs at
            the deciding positions.
    """

    def __init__(self) -> None:
        self.deciding_II = torch.zeros(())
        self.target_I = torch.zeros(())
        self.others_II = torch.zeros(())
        self.others = 0
        self.output_square = 0.0

    def add_deciding(self, x_BI: torch.Tensor, target: float, weight: float) -> None:
        """Add the inputs at deciding positions.

        Args:
            x_BI: the inputs, float32.
            target: what the detector should read there.
            weight: of each squared error.
        """
        if not self.deciding_II.dim():  # the first inputs say how wide they are, and where
            self.deciding_II = x_BI.new_zeros(x_BI.shape[1], x_BI.shape[1])
            self.others_II = torch.zeros_like(self.deciding_II)
            self.target_I = self.target_I.to(x_BI.device)
        self.deciding_II.addmm_(x_BI.T, x_BI, alpha=weight)  # in place: the matrix is large
        self.target_I = self.target_I + weight * target * x_BI.sum(dim=0)

    def add_others(self, x_MI: torch.Tensor, count_M: torch.Tensor) -> None:
        """Add the inputs at other positions, after the deciding ones of the same batch.

        Args:
            x_MI: the inputs at all positions of a batch.
            count_M: how often each position counts, 0 or more.
        """
        counted_M = count_M > 0
        root_N = count_M[counted_M].sqrt()  # it is squared in the product
        x_NI = x_MI[counted_M].float() * root_N.unsqueeze(1)
        self.others_II.addmm_(x_NI.T, x_NI)
        self.others += int(count_M.sum())

    def solve(self, others: float, ridge: float) -> torch.Tensor:
        """Return w, (1, I), float32 on the CPU; the system is solved in float64.

        Args:
            others: weight of the other positions.
            ridge: weight of |w|^2, as a share of the mean square of the inputs.
        """
        moments_II = self.deciding_II + others * self.others_II / max(self.others, 1)
        moments_II = moments_II.cpu().double()
        moments_II.diagonal().add_(ridge * moments_II.diagonal().mean())
        solution_I = torch.linalg.solve(moments_II, self.target_I.cpu().double())
        return solution_I.float().unsqueeze(0)

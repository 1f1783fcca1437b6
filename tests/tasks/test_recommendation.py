"""Click prediction: the loss is the formula's, AUC of logits sees what probabilities hide."""

import torch
from torch import nn

from ttt.distributed.world import Solo
from ttt.tasks.recommendation import ClickPrediction


class Given(nn.Module):
    """Answers with the first dense feature, in half precision as autocast would."""

    def forward(self, dense, ids):
        return dense[:, 0].bfloat16()


def batch(logits, labels):
    dense = torch.tensor(logits)[:, None]
    return dense, torch.zeros(len(logits), 1, dtype=torch.int64), torch.tensor(labels)


def test_the_loss_is_log_loss_in_fp32():
    logits, labels = [0.5, -2.0, 30.0], [1.0, 0.0, 0.0]
    loss = ClickPrediction().loss(Given(), batch(logits, labels))
    chances = torch.tensor(logits, dtype=torch.float64).sigmoid()
    right = torch.stack([chances[0], 1 - chances[1]])
    expected = (30.0 - right.log().sum()) / 3  # 1 - sigmoid(30) is e^-30 to 13 digits
    assert loss.dtype == torch.float32
    assert torch.isclose(loss.double(), expected, rtol=1e-6)


def test_logits_are_judged_where_probabilities_would_tie():
    task, logits, labels = ClickPrediction(), [20.0, 24.0, -3.0], [0.0, 1.0, 0.0]
    assert torch.tensor(20.0).sigmoid() == torch.tensor(24.0).sigmoid()
    metric, made = task.metric(), batch(logits, labels)
    metric.update(task.predict(Given(), made), made)
    assert metric.compute(Solo(torch.device("cpu"))) == (1.0, 3)

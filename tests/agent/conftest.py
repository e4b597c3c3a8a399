import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks this small are slower on several threads; what a study sets is not ours to test here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

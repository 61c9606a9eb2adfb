"""Maps of PyTorch tensors in processes that were forked after the parent's threads had run. Exits with 0 if all is right."""

import multiprocessing

import torch

import unstride as us


class Grown(torch.utils.data.Dataset):
    """Images that the workers enlarge by a transposed convolution."""

    kernel = torch.arange(64 * 64 * 9.0).reshape(64, 64, 3, 3) / 1e4

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return us.conv_transpose(torch.full((1, 64, 40, 40), float(index)), self.kernel, stride=2, channels="first")[0]


def data_loader():
    data = Grown()
    expected = torch.stack([data[index] for index in range(4)])  # the parent's threads have run before the fork
    loader = torch.utils.data.DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=60)
    torch.testing.assert_close(torch.cat(list(loader)), expected)


def in_a_fork(queue):
    torch.set_num_threads(1)
    queue.put(Grown()[1].sum().item())


def forked_process():
    expected = Grown()[1].sum().item()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=in_a_fork, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join(60)
    assert process.exitcode == 0


if __name__ == "__main__":
    data_loader()
    forked_process()

"""small_cnn: a small convolutional network, for tests and first steps."""

from torch import nn


class SmallCNN(nn.Sequential):
    """Three blocks of convolution, batch norm and ReLU, the second and third at half the resolution of the one before;
    the mean over all positions; a linear layer. (B, 3, H, W) to (B, outputs).

    Args:
        width: channels of the first block; the second has twice, the third four times as many.
    """

    def __init__(self, outputs: int, width: int = 32):
        super().__init__(
            *_block(3, width),
            *_block(width, 2 * width, stride=2),
            *_block(2 * width, 4 * width, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, outputs),
        )


def _block(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)

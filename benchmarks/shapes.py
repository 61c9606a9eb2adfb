"""The transposed convolutions that maps.py measures: layers of real decoders, and difficult shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unstride import Geometry
from unstride.geometry import Padding


@dataclass(frozen=True)
class Shape:
    """One layer. `size` is the spatial size of its (small) input. In the other fields an int stands for all axes."""

    name: str
    batch: int
    size: tuple[int, ...]
    c_in: int
    c_out: int
    k: int
    s: int = 1
    padding: Padding = 0
    output_padding: int | None = None
    dilation: int = 1
    groups: int = 1

    @property
    def geometry(self) -> Geometry:
        kernel_size = (self.k,) * len(self.size)
        return Geometry(kernel_size, self.s, self.padding, self.output_padding, self.dilation, self.groups)

    @property
    def gflop(self) -> float:
        """The operations if every input cell uses the whole kernel. Cells that a crop removes count too."""
        taps: int = self.k ** len(self.size)
        return 2e-9 * self.batch * math.prod(self.size) * taps * self.c_in * self.c_out / self.groups

    @property
    def compute_bound(self) -> bool:
        """Whether the shape is compute-bound: it has enough channels to reuse loaded data, and enough work."""
        return min(self.c_in, self.c_out) >= 16 * self.groups and self.gflop >= 0.2


SHAPES = (
    # DCGAN (Radford et al. 2015)
    Shape("dcgan 1", 32, (4, 4), 1024, 512, 4, 2, 1),
    Shape("dcgan 2", 32, (8, 8), 512, 256, 4, 2, 1),
    Shape("dcgan 3", 32, (16, 16), 256, 128, 4, 2, 1),
    Shape("dcgan 4", 32, (32, 32), 128, 3, 4, 2, 1),
    Shape("dcgan 1, one image", 1, (4, 4), 1024, 512, 4, 2, 1),
    Shape("dcgan 4, one image", 1, (32, 32), 128, 3, 4, 2, 1),
    # U-Net (Ronneberger et al. 2015): the deepest, the next, and the shallowest at half the channels
    Shape("u-net deep", 1, (28, 28), 1024, 512, 2, 2),
    Shape("u-net middle", 1, (56, 56), 512, 256, 2, 2),
    Shape("u-net shallow", 1, (128, 128), 128, 64, 2, 2),
    # Images from images and larger images: pix2pix, FSRCNN, ESPCN's last layer
    Shape("pix2pix last", 1, (128, 128), 128, 3, 4, 2, 1),
    Shape("fsrcnn x2", 1, (128, 128), 56, 1, 9, 2, 4, 1),
    Shape("fsrcnn x3", 1, (128, 128), 56, 1, 9, 3, 4, 2),
    Shape("fsrcnn x4", 1, (128, 128), 56, 1, 9, 4, 4, 3),
    Shape("espcn last", 1, (120, 90), 64, 12, 3, 1, 1),
    # Segmentation, poses, masks
    Shape("fcn-8s", 1, (64, 64), 21, 21, 16, 8, 4),
    Shape("fcn-32s", 1, (16, 16), 21, 21, 64, 32, 16),
    Shape("pose 1", 8, (8, 6), 2048, 256, 4, 2, 1),
    Shape("pose 2", 8, (16, 12), 256, 256, 4, 2, 1),
    Shape("pose 3", 8, (32, 24), 256, 256, 4, 2, 1),
    Shape("mask head", 16, (14, 14), 256, 80, 2, 2),
    Shape("mobile 1", 1, (112, 112), 96, 24, 2, 2),
    Shape("mobile 2", 1, (64, 64), 24, 2, 4, 4),
    # Keras's "same": the odd cell is cropped at the end
    Shape("keras same 64", 8, (32, 32), 64, 64, 3, 2, "same"),
    Shape("keras same 32", 4, (64, 64), 32, 16, 3, 2, "same"),
    Shape("stride 1 same", 8, (32, 32), 64, 64, 3, 1, "same"),
    Shape("wide 1x1", 1, (56, 56), 256, 256, 1),
    # Groups
    Shape("bilinear 64", 1, (64, 64), 64, 64, 4, 2, 1, groups=64),
    Shape("bilinear 21", 1, (128, 128), 21, 21, 4, 2, 1, groups=21),
    Shape("four groups", 4, (32, 32), 128, 128, 4, 2, 1, groups=4),
    # Sound: HiFi-GAN, and a causal decoder like EnCodec's, whose whole crop is at the end
    Shape("hifi-gan 1", 4, (32,), 512, 256, 16, 8, 4),
    Shape("hifi-gan 2", 4, (256,), 256, 128, 16, 8, 4),
    Shape("hifi-gan 3", 4, (2048,), 128, 64, 4, 2, 1),
    Shape("hifi-gan 4", 4, (4096,), 64, 32, 4, 2, 1),
    Shape("causal 1-D", 2, (1000,), 256, 128, 8, 4, ((0, 4),)),
    # Volumes
    Shape("3-D u-net shallow", 1, (24, 24, 24), 64, 32, 2, 2),
    Shape("3-D u-net deep", 1, (8, 8, 8), 256, 128, 2, 2),
    Shape("voxels same", 1, (24, 24, 24), 32, 32, 3, 2, "same"),
    Shape("voxels 128", 8, (8, 8, 8), 128, 64, 4, 2, 1),
    Shape("voxels last", 4, (16, 16, 16), 64, 1, 4, 2, 1),
    # The reading's decoder; its last, plain convolution is a transposed one of stride 1
    *(
        Shape(f"reading {number}, batch {batch}", batch, (cells, cells), c_in, c_out, 3, 1, padding)
        for batch in (1, 32, 1000)
        for number, cells, c_in, c_out, padding in (
            (1, 22, 8, 8, 0),
            (2, 24, 8, 16, 0),
            (3, 26, 16, 32, 0),
            (4, 28, 32, 1, 1),
        )
    ),
    # Channel counts that do not fill vectors
    Shape("odd 1 to 1", 1, (256, 256), 1, 1, 4, 2, 1),
    Shape("odd 3 to 3", 1, (128, 128), 3, 3, 3, 2, 1, 1),
    Shape("odd 5 to 5", 4, (64, 64), 5, 5, 3, 2),
    Shape("odd 21 to 33", 1, (37, 37), 21, 33, 5, 3, 1),
    Shape("odd 33 to 100", 3, (31, 31), 33, 100, 3, 2, 1, 1),
    Shape("odd 100 to 5", 2, (29, 43), 100, 5, 5, 2),
    Shape("prime 67 to 71", 1, (41, 37), 67, 71, 7, 3, 2),
    Shape("prime 13 to 17", 1, (53, 53), 13, 17, 5, 5),
    # Dilation; kernels smaller than the stride, which leave cells unwritten; almost no work
    Shape("dilated s1 d2", 2, (48, 48), 64, 64, 3, 1, 2, dilation=2),
    Shape("dilated s2 d3", 1, (33, 33), 48, 32, 3, 2, dilation=3),
    Shape("gaps k2 s3", 2, (32, 32), 64, 64, 2, 3),
    Shape("gaps k1 s2", 2, (64, 64), 16, 24, 1, 2),
    Shape("tiny 1 channel", 1, (2, 2), 1, 1, 2, 2),
    Shape("tiny 8 channels", 1, (4, 4), 8, 8, 3, 2),
)

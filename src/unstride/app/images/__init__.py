"""Reading pictures: files of any format, the meaning of their numbers, and digits as in MNIST."""

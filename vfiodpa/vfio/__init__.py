"""A PciFunction through the kernel: VFIO, with iommufd or type1 underneath."""

"""A virtual machine with an IOMMU and NICs for VFIO, without hardware and without KVM."""

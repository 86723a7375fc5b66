#include "mmio.h"

#include <errno.h>

#include "guard.h"

uint8_t vdp_mmio_read8(const volatile void *addr)
{
	return *(const volatile uint8_t *)addr;
}

uint16_t vdp_mmio_read16(const volatile void *addr)
{
	return *(const volatile uint16_t *)addr;
}

uint32_t vdp_mmio_read32(const volatile void *addr)
{
	return *(const volatile uint32_t *)addr;
}

void vdp_mmio_write8(volatile void *addr, uint8_t value)
{
	*(volatile uint8_t *)addr = value;
}

void vdp_mmio_write16(volatile void *addr, uint16_t value)
{
	*(volatile uint16_t *)addr = value;
}

void vdp_mmio_write32(volatile void *addr, uint32_t value)
{
	*(volatile uint32_t *)addr = value;
}

static int load(const volatile void *addr, unsigned int width, uint32_t *ret)
{
	switch (width) {
	case 8:
		*ret = vdp_mmio_read8(addr);
		return 0;
	case 16:
		*ret = vdp_mmio_read16(addr);
		return 0;
	case 32:
		*ret = vdp_mmio_read32(addr);
		return 0;
	default:
		return -EINVAL;
	}
}

static int store(volatile void *addr, unsigned int width, uint32_t value)
{
	switch (width) {
	case 8:
		vdp_mmio_write8(addr, (uint8_t)value);
		return 0;
	case 16:
		vdp_mmio_write16(addr, (uint16_t)value);
		return 0;
	case 32:
		vdp_mmio_write32(addr, value);
		return 0;
	default:
		return -EINVAL;
	}
}

int vdp_mmio_load(const volatile void *addr, unsigned int width, uint32_t *ret)
{
	int rc;

	if (vdp_guard_install() < 0 || sigsetjmp(*vdp_guard_arm(), 0)) {
		vdp_guard_disarm();
		return -EFAULT;
	}
	rc = load(addr, width, ret);
	vdp_guard_disarm();
	return rc;
}

int vdp_mmio_store(volatile void *addr, unsigned int width, uint32_t value)
{
	int rc;

	if (vdp_guard_install() < 0 || sigsetjmp(*vdp_guard_arm(), 0)) {
		vdp_guard_disarm();
		return -EFAULT;
	}
	rc = store(addr, width, value);
	vdp_guard_disarm();
	return rc;
}

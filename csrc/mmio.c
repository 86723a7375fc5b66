#include "mmio.h"

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

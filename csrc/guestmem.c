#include "guestmem.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "guard.h"

int vdp_map_shared(int fd, uint64_t offset, uint64_t length, bool writable, void **ret)
{
	int prot = PROT_READ | (writable ? PROT_WRITE : 0);
	void *addr = mmap(NULL, length, prot, MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);

	if (addr == MAP_FAILED)
		return -errno;
	*ret = addr;
	return 0;
}

int vdp_unmap(void *addr, uint64_t length)
{
	return munmap(addr, length) < 0 ? -errno : 0;
}

int vdp_is_hugetlbfs(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	return fs.f_type == HUGETLBFS_MAGIC;
}

int vdp_guest_read16(const void *addr)
{
	int value;

	if (vdp_guard_install() < 0 || sigsetjmp(*vdp_guard_arm(), 0)) {
		vdp_guard_disarm();
		return -EFAULT;
	}
	value = __atomic_load_n((const uint16_t *)addr, __ATOMIC_ACQUIRE);
	vdp_guard_disarm();
	return value;
}

static int guest_copy(void *dst, const void *src, uint64_t length)
{
	if (vdp_guard_install() < 0 || sigsetjmp(*vdp_guard_arm(), 0)) {
		vdp_guard_disarm();
		return -EFAULT;
	}
	memcpy(dst, src, length);
	vdp_guard_disarm();
	return 0;
}

int vdp_guest_copy_in(void *private_dst, const void *guest_src, uint64_t length)
{
	return guest_copy(private_dst, guest_src, length);
}

int vdp_guest_copy_out(void *guest_dst, const void *private_src, uint64_t length)
{
	return guest_copy(guest_dst, private_src, length);
}

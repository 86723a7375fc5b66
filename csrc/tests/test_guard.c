/* Truncated memory is an error, and a poke interrupts a system call. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guard.h"
#include "guestmem.h"
#include "rig.h"

static void test_gone(void)
{
	int fd = memfd_create("guard", MFD_CLOEXEC);
	char bytes[4] = "abc";
	void *at;

	CHECK_EQ(ftruncate(fd, 0x2000), 0);
	CHECK_EQ(vdp_map_shared(fd, 0, 0x2000, true, &at), 0);
	CHECK_EQ(vdp_guest_copy_out((char *)at + 0x1000, bytes, 4), 0);
	CHECK_EQ(vdp_guest_read16((char *)at + 0x1000), 'a' | 'b' << 8);
	CHECK_EQ(ftruncate(fd, 0x1000), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(vdp_guest_read16((char *)at + 0x1000), -EFAULT);
		CHECK_EQ(vdp_guest_copy_in(bytes, (char *)at + 0x1000, 4), -EFAULT);
		CHECK_EQ(vdp_guest_copy_out((char *)at + 0x1000, bytes, 4), -EFAULT);
		CHECK_EQ(vdp_guest_read16(at), 0);
	}
	CHECK_EQ(vdp_unmap(at, 0x2000), 0);
	close(fd);
}

static int poked_errno;

static void *poked(void *arg)
{
	(void)arg;
	if (sigsetjmp(*vdp_guard_arm(), 0))
		CHECK(!"a poke is not a lost access");
	CHECK_EQ(poll(NULL, 0, 5000), -1);
	poked_errno = errno;
	vdp_guard_disarm();
	return NULL;
}

static void test_poke(void)
{
	pthread_t thread;

	CHECK_EQ(vdp_guard_install(), 0);
	CHECK_EQ(pthread_create(&thread, NULL, poked, NULL), 0);
	rig_sleep_ms(50);
	vdp_guard_poke(thread);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(poked_errno, EINTR);
}

int main(void)
{
	test_gone();
	test_poke();
	return 0;
}

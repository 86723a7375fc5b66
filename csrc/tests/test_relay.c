/* The kick relay: each signal rings, and after del nothing does. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "relay.h"
#include "rig.h"

static void signal_fd(int fd)
{
	uint64_t one = 1;

	CHECK_EQ(write(fd, &one, sizeof(one)), sizeof(one));
}

static void wait_kicks(struct vdp_relay *relay, uint32_t slot, uint64_t n)
{
	for (int i = 0; i < 5000 && vdp_relay_kicks(relay, slot) < n; i++)
		rig_sleep_ms(1);
	CHECK_EQ(vdp_relay_kicks(relay, slot), n);
}

static void test_rings(void)
{
	int kick = eventfd(0, EFD_NONBLOCK), out = eventfd(0, EFD_NONBLOCK);
	volatile uint16_t bar[2] = {0xffff, 0xffff};
	struct vdp_doorbell mmio = {.kind = VDP_DOORBELL_MMIO16, .value = 7, .addr = bar};
	struct vdp_doorbell event = {.kind = VDP_DOORBELL_EVENTFD, .fd = out};
	struct vdp_relay *relay;

	CHECK_EQ(vdp_relay_init(&relay), 0);
	CHECK_EQ(vdp_relay_add(relay, 7, kick, &mmio), 0);
	CHECK_EQ(vdp_relay_add(relay, 8, kick, &event), 0); /* one fd may ring two bells */
	signal_fd(kick);
	wait_kicks(relay, 7, 1);
	wait_kicks(relay, 8, 1);
	CHECK_EQ(bar[0], 7);
	CHECK_EQ(bar[1], 0xffff);
	CHECK_EQ(rig_take(out), 1);
	signal_fd(kick); /* although nobody has read the first */
	wait_kicks(relay, 8, 2);
	CHECK_EQ(rig_take(out), 1);
	CHECK_EQ(rig_take(kick), 2);
	vdp_relay_fini(relay);
	close(kick);
	close(out);
}

static void test_del(void)
{
	int kick = eventfd(0, EFD_NONBLOCK), out = eventfd(0, EFD_NONBLOCK);
	struct vdp_doorbell event = {.kind = VDP_DOORBELL_EVENTFD, .fd = out};
	struct vdp_relay *relay;

	CHECK_EQ(vdp_relay_init(&relay), 0);
	CHECK_EQ(vdp_relay_add(relay, VDP_RELAY_MAX, kick, &event), -EINVAL);
	CHECK_EQ(vdp_relay_add(relay, 0, -1, &event), -EBADF);
	CHECK_EQ(vdp_relay_del(relay, 0), -EINVAL);
	signal_fd(kick); /* before the relay knows it: not lost */
	CHECK_EQ(vdp_relay_add(relay, 0, kick, &event), 0);
	CHECK_EQ(vdp_relay_add(relay, 0, kick, &event), -EBUSY);
	wait_kicks(relay, 0, 1);
	for (int i = 0; i < 200; i++) {
		signal_fd(kick);
		CHECK_EQ(vdp_relay_del(relay, 0), 0);
		rig_take(out);
		signal_fd(kick);
		rig_take(kick);
		CHECK_EQ(rig_take(out), 0);
		CHECK_EQ(vdp_relay_add(relay, 0, kick, &event), 0);
	}
	vdp_relay_fini(relay);
	close(kick);
	close(out);
}

int main(void)
{
	test_rings();
	test_del();
	return 0;
}

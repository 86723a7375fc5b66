#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RELAY_EVENTS 64
#define RELAY_STOP   UINT32_MAX

struct relay_slot {
	bool used;
	int fd; /* our duplicate: one fd may serve several slots, and epoll knows files, not their owners */
	struct vdp_doorbell bell;
	uint64_t kicks;
};

struct vdp_relay {
	pthread_t thread;
	pthread_mutex_t lock; /* of the slots; held while a bell is rung, so that del can wait for it */
	int epoll_fd, stop_fd;
	struct relay_slot slots[VDP_RELAY_MAX];
};

/* The other side shares the flags of an eventfd and could make a write to a full one block. */
static bool relay_has_room(const struct vdp_doorbell *bell)
{
	struct pollfd room = {.fd = bell->fd, .events = POLLOUT};

	return bell->kind != VDP_DOORBELL_EVENTFD || poll(&room, 1, 0) > 0;
}

static void relay_ring(struct vdp_relay *relay, uint32_t index)
{
	struct relay_slot *slot = relay->slots + index;

	pthread_mutex_lock(&relay->lock);
	if (slot->used) {
		if (relay_has_room(&slot->bell))
			vdp_doorbell_ring(&slot->bell);
		__atomic_store_n(&slot->kicks, slot->kicks + 1, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&relay->lock);
}

static void *relay_main(void *arg)
{
	struct vdp_relay *relay = arg;
	struct epoll_event events[RELAY_EVENTS];

	for (;;) {
		int n = epoll_wait(relay->epoll_fd, events, RELAY_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.u32 == RELAY_STOP)
				return NULL;
			relay_ring(relay, events[i].data.u32);
		}
	}
}

/* Edge-triggered: the fd is never read, so a guest that makes it blocking cannot stop the thread. */
static int relay_watch(struct vdp_relay *relay, int fd, uint32_t slot)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = slot};

	return epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int relay_create(struct vdp_relay *relay)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all); /* signals are Python's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&relay->thread, NULL, relay_main, relay);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		pthread_setname_np(relay->thread, "vdp-relay");
	return rc;
}

static void relay_free(struct vdp_relay *relay)
{
	for (uint32_t i = 0; i < VDP_RELAY_MAX; i++) {
		if (relay->slots[i].used)
			close(relay->slots[i].fd);
	}
	if (relay->epoll_fd >= 0)
		close(relay->epoll_fd);
	if (relay->stop_fd >= 0)
		close(relay->stop_fd);
	pthread_mutex_destroy(&relay->lock);
	free(relay);
}

int vdp_relay_init(struct vdp_relay **ret)
{
	struct vdp_relay *relay = calloc(1, sizeof(*relay));
	int rc = 0;

	if (!relay)
		return -ENOMEM;
	pthread_mutex_init(&relay->lock, NULL);
	relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	relay->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (relay->epoll_fd < 0 || relay->stop_fd < 0)
		rc = -errno;
	if (rc == 0)
		rc = relay_watch(relay, relay->stop_fd, RELAY_STOP);
	if (rc == 0)
		rc = relay_create(relay);
	if (rc < 0) {
		relay_free(relay);
		return rc;
	}
	*ret = relay;
	return 0;
}

void vdp_relay_fini(struct vdp_relay *relay)
{
	uint64_t one = 1;

	if (!relay)
		return;
	while (write(relay->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(relay->thread, NULL);
	relay_free(relay);
}

int vdp_relay_add(struct vdp_relay *relay, uint32_t slot, int fd, const struct vdp_doorbell *bell)
{
	struct relay_slot *at = relay->slots + slot;
	int rc;

	if (slot >= VDP_RELAY_MAX)
		return -EINVAL;
	if (at->used)
		return -EBUSY;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	pthread_mutex_lock(&relay->lock);
	rc = relay_watch(
	    relay, fd, slot); /* rings at once when the fd was signalled before: no kick is lost */
	if (rc == 0) {
		at->used = true;
		at->fd = fd;
		at->bell = *bell;
		__atomic_store_n(&at->kicks, 0, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&relay->lock);
	if (rc < 0)
		close(fd);
	return rc;
}

int vdp_relay_del(struct vdp_relay *relay, uint32_t slot)
{
	struct relay_slot *at = relay->slots + slot;

	if (slot >= VDP_RELAY_MAX || !at->used)
		return -EINVAL;
	pthread_mutex_lock(&relay->lock);
	at->used = false;
	epoll_ctl(relay->epoll_fd, EPOLL_CTL_DEL, at->fd, NULL);
	close(at->fd);
	pthread_mutex_unlock(&relay->lock);
	return 0;
}

uint64_t vdp_relay_kicks(const struct vdp_relay *relay, uint32_t slot)
{
	return slot < VDP_RELAY_MAX ? __atomic_load_n(&relay->slots[slot].kicks, __ATOMIC_RELAXED) : 0;
}

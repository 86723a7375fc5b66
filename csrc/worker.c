/* The thread behind software NICs: whom to poll, and when to sleep. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "guard.h"
#include "nic_serve.h"

#define WORKER_EVENTS 64
#define WORKER_ROUNDS 32u /* between two looks at those that sleep while others are polled */

/* Lists of NICs. A NIC is in at most one of polled and timed, and knows where. */

static void worker_unlist(struct vdp_worker *worker, struct vdp_nic *nic)
{
	struct vdp_nic **list = nic->place == VDP_NIC_POLLED ? worker->polled : worker->timed;
	uint32_t *count = nic->place == VDP_NIC_POLLED ? &worker->polled_count : &worker->timed_count;

	if (nic->place == VDP_NIC_ASLEEP)
		return;
	nic->place = VDP_NIC_ASLEEP;
	list[nic->at] = list[--*count];
	list[nic->at]->at = nic->at;
}

static void worker_list(struct vdp_worker *worker, struct vdp_nic *nic, enum vdp_nic_place place)
{
	struct vdp_nic **list = place == VDP_NIC_POLLED ? worker->polled : worker->timed;
	uint32_t *count = place == VDP_NIC_POLLED ? &worker->polled_count : &worker->timed_count;

	nic->place = place;
	nic->at = *count;
	list[(*count)++] = nic;
}

void vdp_worker_poll(struct vdp_worker *worker, struct vdp_nic *nic)
{
	if (nic->place != VDP_NIC_POLLED) {
		worker_unlist(worker, nic);
		worker_list(worker, nic, VDP_NIC_POLLED);
	}
	nic->fresh = worker->fresh = true;
}

void vdp_worker_rest(struct vdp_worker *worker, struct vdp_nic *nic)
{
	worker_unlist(worker, nic);
	if (nic->wake_ns != UINT64_MAX)
		worker_list(worker, nic, VDP_NIC_TIMED);
}

static int worker_grow(struct vdp_nic ***list, uint32_t slots)
{
	struct vdp_nic **grown = realloc(*list, slots * sizeof(**list));

	if (!grown)
		return -ENOMEM;
	*list = grown;
	return 0;
}

int vdp_worker_add(struct vdp_worker *worker, struct vdp_nic *nic)
{
	uint32_t slot = 0;

	if (worker->count == worker->slots) {
		uint32_t slots = worker->slots ? worker->slots * 2 : 8;

		if (worker_grow(&worker->nics, slots) || worker_grow(&worker->polled, slots) ||
		    worker_grow(&worker->timed, slots))
			return -ENOMEM;
		memset(worker->nics + worker->slots, 0, (slots - worker->slots) * sizeof(nic));
		worker->slots = slots;
	}
	while (worker->nics[slot])
		slot++;
	worker->nics[slot] = nic;
	worker->count++;
	nic->slot = slot;
	nic->place = VDP_NIC_ASLEEP;
	return 0;
}

void vdp_worker_remove(struct vdp_worker *worker, struct vdp_nic *nic)
{
	worker_unlist(worker, nic);
	worker->nics[nic->slot] = NULL;
	worker->count--;
}

/* What the thread does */

static void worker_park(struct vdp_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	worker->parked = true;
	pthread_cond_broadcast(&worker->changed);
	while (worker->pauses > 0)
		pthread_cond_wait(&worker->changed, &worker->lock);
	worker->parked = false;
	pthread_mutex_unlock(&worker->lock);
}

/* Returns false when it is the end. */
static bool worker_attend(struct vdp_worker *worker)
{
	uint32_t attention = __atomic_load_n(&worker->attention, __ATOMIC_ACQUIRE);

	if (attention & VDP_WORKER_STOP)
		return false;
	if (attention & VDP_WORKER_PAUSE)
		worker_park(worker);
	if (!(attention & VDP_WORKER_INJECT))
		return true;
	__atomic_fetch_and(&worker->attention, ~VDP_WORKER_INJECT, __ATOMIC_ACQUIRE);
	for (uint32_t i = 0; i < worker->slots; i++) {
		if (worker->nics[i] && vdp_nic_serves(worker->nics[i]))
			vdp_worker_poll(
			    worker, worker->nics[i]); /* a fresh one looks whether there is a frame */
	}
	return true;
}

/* Those that begin to be polled. This touches guest memory: a SIGBUS comes back here for the rest of them. */
static void worker_welcome(struct vdp_worker *worker)
{
	for (uint32_t i = 0; i < worker->polled_count; i++) {
		struct vdp_nic *nic = worker->polled[i];

		if (!nic->fresh)
			continue;
		nic->fresh = false;
		worker->current = nic;
		vdp_nic_welcome(nic);
	}
	worker->fresh = false;
}

static void worker_take_event(struct vdp_worker *worker, uint64_t data)
{
	uint32_t slot = (uint32_t)(data >> 32), queue = (uint32_t)data;
	struct vdp_nic *nic = slot < worker->slots ? worker->nics[slot] : NULL;

	if (!nic)
		return; /* wake_fd: attention says why */
	if (queue != VDP_NIC_NO_QUEUE)
		vdp_count(&nic->queues[queue].stats.kicks, 1);
	if (nic->place != VDP_NIC_POLLED && vdp_nic_serves(nic))
		vdp_worker_poll(worker, nic);
}

/* Events that are there, or come within timeout_ms. They are edges: all must be taken before memory is
 * touched. */
static void worker_take_events(struct vdp_worker *worker, int timeout_ms)
{
	struct epoll_event events[WORKER_EVENTS];
	int n = epoll_wait(worker->epoll_fd, events, WORKER_EVENTS, timeout_ms);

	for (int i = 0; i < n; i++)
		worker_take_event(worker, events[i].data.u64);
}

/* Those whose time has come. */
static void worker_take_timed(struct vdp_worker *worker)
{
	uint64_t now = vdp_now_ns(CLOCK_MONOTONIC);

	for (uint32_t i = worker->timed_count; i-- > 0;) {
		struct vdp_nic *nic = worker->timed[i];

		worker->current = nic;
		if (nic->wake_ns <= now && vdp_nic_due(nic, now))
			vdp_worker_poll(worker, nic);
	}
}

/* Until an event or the time of one of them. */
static void worker_wait_timed(struct vdp_worker *worker)
{
	struct pollfd set = {.fd = worker->epoll_fd, .events = POLLIN};
	uint64_t now = vdp_now_ns(CLOCK_MONOTONIC), until = UINT64_MAX, left;
	struct timespec wait;

	for (uint32_t i = 0; i < worker->timed_count; i++)
		if (worker->timed[i]->wake_ns < until)
			until = worker->timed[i]->wake_ns;
	left = until > now ? until - now : 0;
	wait = (struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
	ppoll(&set, 1, &wait, NULL); /* epoll itself counts in milliseconds */
}

static void worker_sleep_timed(struct vdp_worker *worker)
{
	while (worker->polled_count == 0 && !__atomic_load_n(&worker->attention, __ATOMIC_RELAXED)) {
		worker_wait_timed(worker);
		worker_take_events(worker, 0);
		worker_take_timed(worker);
	}
}

static void worker_sleep(struct vdp_worker *worker)
{
	vdp_count(&worker->stats.sleeps, 1);
	if (worker->timed_count == 0)
		worker_take_events(worker, -1);
	else
		worker_sleep_timed(worker);
	vdp_count(&worker->stats.wakes, 1);
}

/* Each polled NIC once. */
static void worker_round(struct vdp_worker *worker)
{
	for (uint32_t i = 0; i < worker->polled_count;) {
		struct vdp_nic *nic = worker->polled[i];

		worker->current = nic;
		if (VDP_LIKELY(vdp_nic_serve(nic, &worker->stats)))
			i++;
		else
			vdp_worker_rest(worker, nic); /* another takes its place */
	}
	if (VDP_LIKELY(worker->polled_count == worker->count) || ++worker->rounds % WORKER_ROUNDS)
		return;
	if (worker->polled_count == 0)
		return; /* going to sleep looks as well */
	worker_take_events(worker, 0);
	if (worker->timed_count > 0)
		worker_take_timed(worker);
}

void *vdp_worker_main(void *arg)
{
	struct vdp_worker *worker = arg;

	if (sigsetjmp(*vdp_guard_arm(), 0)) {
		/* It came out of a poll, or of a sleep with a look at doorbell pages. */
		vdp_count(&worker->stats.wakes, worker->stats.sleeps - worker->stats.wakes);
		vdp_nic_memory_gone(worker->current);
		vdp_worker_rest(worker, worker->current);
	}
	for (;;) {
		if (VDP_UNLIKELY(__atomic_load_n(&worker->attention, __ATOMIC_RELAXED)) &&
		    !worker_attend(worker))
			break;
		if (VDP_UNLIKELY(worker->fresh))
			worker_welcome(worker);
		if (VDP_LIKELY(worker->polled_count > 0))
			worker_round(worker);
		else
			worker_sleep(worker);
	}
	return NULL; /* still armed: who joins us may poke us until we are gone */
}

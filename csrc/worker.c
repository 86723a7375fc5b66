/* The thread behind software NICs: whom to poll, when to sleep, how to park. */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "guard.h"
#include "nic_impl.h"

#define WORKER_EVENTS 64
#define WORKER_ROUNDS 32u /* between two looks at those that sleep while others are polled */
#define WORKER_POKE_NS                                                                                       \
	20000000u /* a worker that does not come is thrown out of its system call after this                 \
		   */
#define WORKER_STACK (256u * 1024)

static void worker_wake(struct vdp_worker *worker)
{
	uint64_t one = 1;
	ssize_t n = write(worker->wake_fd, &one, sizeof(one));

	(void)n; /* cannot fail but by a full counter, which wakes as well */
}

void vdp_worker_call(struct vdp_worker *worker, uint32_t attention)
{
	__atomic_fetch_or(&worker->attention, attention, __ATOMIC_RELEASE);
	worker_wake(worker);
}

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

static void worker_sleep(struct vdp_worker *worker)
{
	vdp_count(&worker->stats.sleeps, 1);
	if (worker->timed_count == 0) {
		worker_take_events(worker, -1);
		return;
	}
	while (worker->polled_count == 0 && !__atomic_load_n(&worker->attention, __ATOMIC_RELAXED)) {
		worker_wait_timed(worker);
		worker_take_events(worker, 0);
		worker_take_timed(worker);
	}
}

/* Each polled NIC once. */
static void worker_round(struct vdp_worker *worker)
{
	for (uint32_t i = 0; i < worker->polled_count;) {
		struct vdp_nic *nic = worker->polled[i];

		worker->current = nic;
		if (VDP_LIKELY(vdp_nic_serve(nic)))
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

static void *worker_main(void *arg)
{
	struct vdp_worker *worker = arg;

	if (sigsetjmp(*vdp_guard_arm(), 0)) {
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

/* Its beginning and end */

static int worker_pin(pthread_attr_t *attr, uint32_t cpu)
{
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	size_t size = CPU_ALLOC_SIZE(cpu + 1);
	int rc;

	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	rc = -pthread_attr_setaffinity_np(attr, size, set);
	CPU_FREE(set);
	return rc;
}

static int worker_create(struct vdp_worker *worker, int32_t cpu)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	worker->attention = VDP_WORKER_PAUSE;
	worker->pauses = 1;
	rc = cpu >= 0 ? worker_pin(&attr, (uint32_t)cpu) : 0;
	/* Signals are Python's; those of a fault are ours and must not be blocked. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc == 0)
		rc = -pthread_create(&worker->thread, &attr, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc < 0)
		return rc;
	pthread_setname_np(worker->thread, "vdp-worker");
	/* Not before its guard is armed may anybody poke it. */
	pthread_mutex_lock(&worker->lock);
	while (!worker->parked)
		pthread_cond_wait(&worker->changed, &worker->lock);
	pthread_mutex_unlock(&worker->lock);
	vdp_worker_resume(worker);
	return 0;
}

static void worker_free(struct vdp_worker *worker)
{
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	if (worker->epoll_fd >= 0)
		close(worker->epoll_fd);
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker->scratch);
	free(worker->nics);
	free(worker->polled);
	free(worker->timed);
	free(worker);
}

static int worker_init_parts(struct vdp_worker *worker)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = UINT64_MAX};
	pthread_condattr_t attr;

	pthread_mutex_init(&worker->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&worker->changed, &attr);
	pthread_condattr_destroy(&attr);
	worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	worker->scratch =
	    malloc(sizeof(*worker->scratch)); /* megabytes, but of pages that nobody has touched */
	if (worker->epoll_fd < 0 || worker->wake_fd < 0)
		return -errno;
	if (!worker->scratch)
		return -ENOMEM;
	return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0 ? -errno : 0;
}

int vdp_worker_init(struct vdp_worker **ret, int32_t cpu)
{
	struct vdp_worker *worker;
	int rc = vdp_guard_install();

	if (rc < 0)
		return rc;
	worker = aligned_alloc(VDP_CACHE_LINE, sizeof(*worker));
	if (!worker)
		return -ENOMEM;
	memset(worker, 0, sizeof(*worker));
	rc = worker_init_parts(worker);
	if (rc == 0)
		rc = worker_create(worker, cpu);
	if (rc < 0) {
		worker_free(worker);
		return rc;
	}
	*ret = worker;
	return 0;
}

/* The end of the next slice of a wait until until_ns, as condition variables and joins want it. */
static struct timespec worker_slice(clockid_t clock, uint64_t left_ns)
{
	uint64_t end = vdp_now_ns(clock) + (left_ns < WORKER_POKE_NS ? left_ns : WORKER_POKE_NS);

	return (struct timespec){(time_t)(end / 1000000000u), (long)(end % 1000000000u)};
}

void vdp_worker_fini(struct vdp_worker *worker)
{
	struct timespec slice;

	if (!worker)
		return;
	vdp_worker_call(worker, VDP_WORKER_STOP);
	for (;;) {
		slice = worker_slice(CLOCK_REALTIME, WORKER_POKE_NS);
		if (pthread_timedjoin_np(worker->thread, NULL, &slice) == 0)
			break;
		vdp_guard_poke(worker->thread);
	}
	worker_free(worker);
}

int vdp_worker_pause(struct vdp_worker *worker, uint32_t timeout_ms)
{
	uint64_t until = vdp_now_ns(CLOCK_MONOTONIC) + timeout_ms * (uint64_t)1000000, now;
	struct timespec slice;
	int rc = 0;

	pthread_mutex_lock(&worker->lock);
	worker->pauses++;
	if (!worker->parked)
		vdp_worker_call(worker, VDP_WORKER_PAUSE);
	while (!worker->parked && (now = vdp_now_ns(CLOCK_MONOTONIC)) < until) {
		slice = worker_slice(CLOCK_MONOTONIC, until - now);
		/* A guest may have made its call fd blocking, and filled it. */
		if (pthread_cond_timedwait(&worker->changed, &worker->lock, &slice) == ETIMEDOUT)
			vdp_guard_poke(worker->thread);
	}
	if (!worker->parked)
		rc = -ETIMEDOUT;
	pthread_mutex_unlock(&worker->lock);
	if (rc < 0)
		vdp_worker_resume(worker);
	return rc;
}

void vdp_worker_resume(struct vdp_worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	if (--worker->pauses == 0) {
		__atomic_fetch_and(&worker->attention, ~VDP_WORKER_PAUSE, __ATOMIC_RELAXED);
		pthread_cond_broadcast(&worker->changed);
	}
	pthread_mutex_unlock(&worker->lock);
}

/* The thread behind the software NIC: poll, sleep, pause. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "guard.h"
#include "nic_impl.h"

#define NIC_EVENTS  64
#define NIC_LOOK_NS 50000u    /* between two looks at the doorbell pages */
#define NIC_POKE_NS 20000000u /* a worker that does not come is thrown out of its system call after this */

void vdp_nic_wake(struct vdp_nic *nic)
{
	uint64_t one = 1;
	ssize_t n = write(nic->wake_fd, &one, sizeof(one));

	(void)n; /* cannot fail but by a full counter, which wakes as well */
}

int vdp_nic_watch(struct vdp_nic *nic, int fd, uint32_t queue)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = queue};

	return epoll_ctl(nic->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void vdp_nic_unwatch(struct vdp_nic *nic, int fd)
{
	epoll_ctl(nic->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* The first error stops all queues; the register model learns of it and says DEVICE_NEEDS_RESET. */
static void worker_report(struct vdp_nic *nic)
{
	struct vdp_queue *queue = nic->queues + nic->error.queue;
	uint64_t one = 1;

	vdp_count(&queue->stats.errors, 1);
	pthread_mutex_lock(&nic->lock);
	nic->reported = nic->error;
	pthread_mutex_unlock(&nic->lock);
	if (nic->config_call_fd >= 0 && write(nic->config_call_fd, &one, sizeof(one)) < 0)
		return; /* a full counter wakes as well */
}

static void worker_inject(struct vdp_nic *nic)
{
	struct vdp_inject *inject = nic->inject;

	if (VDP_LIKELY(__atomic_load_n(&inject->state, __ATOMIC_ACQUIRE) != VDP_INJECT_FULL))
		return;
	if (nic->port->inject && inject->pair < nic->active_pairs) {
		nic->scratch->src[1] = (struct vdp_piece){.addr = inject->frame, .length = inject->length};
		nic->scratch->frame = (struct vdp_net_hdr){0};
		nic->port->inject(nic, nic->pairs + inject->pair, inject->length);
	}
	__atomic_store_n(&inject->state, VDP_INJECT_FREE, __ATOMIC_RELEASE);
}

static uint32_t worker_poll(struct vdp_nic *nic)
{
	uint32_t moved = 0;

	worker_inject(nic);
	for (uint32_t i = 0; i < nic->active_pairs && nic->error.code == VDP_NIC_OK; i++)
		moved += nic->port->poll(nic, nic->pairs + i);
	return moved;
}

static void worker_mind_kick(struct vdp_nic *nic, struct vdp_queue *queue, bool on)
{
	if (!queue->live)
		return;
	nic->serving = queue->ring.index;
	nic->net->notify(&queue->ring, on);
}

/* Ask the driver for notifications, or not. Receive buffers matter only to a port that waits for them. */
static void worker_mind_kicks(struct vdp_nic *nic, bool on)
{
	for (uint32_t i = 0; i < nic->active_pairs; i++) {
		struct vdp_pair *pair = nic->pairs + i;

		worker_mind_kick(nic, pair->tx, on);
		worker_mind_kick(nic, pair->rx, on && pair->rx_starved);
		if (nic->port->asleep)
			nic->port->asleep(nic, pair, on);
	}
}

static void worker_park(struct vdp_nic *nic)
{
	pthread_mutex_lock(&nic->lock);
	nic->parked = true;
	pthread_cond_broadcast(&nic->changed);
	while (__atomic_load_n(&nic->want_pause, __ATOMIC_RELAXED))
		pthread_cond_wait(&nic->changed, &nic->lock);
	nic->parked = false;
	pthread_mutex_unlock(&nic->lock);
	nic->idle_since_ns = 0;
	/* Rings may be new, and we are going to poll them. */
	if (nic->running && nic->error.code == VDP_NIC_OK)
		worker_mind_kicks(nic, false);
}

static bool worker_waiting(struct vdp_nic *nic, struct vdp_queue *queue)
{
	if (!queue->live)
		return false;
	nic->serving = queue->ring.index;
	return nic->net->moved(&queue->ring);
}

/* Is there something to do now, or (in *due_ns) at a later time? */
static bool worker_has_work(struct vdp_nic *nic, uint64_t now_ns, uint64_t *due_ns)
{
	*due_ns = UINT64_MAX;
	for (uint32_t i = 0; i < nic->active_pairs; i++) {
		struct vdp_pair *pair = nic->pairs + i;

		if (pair->tx_blocked || worker_waiting(nic, pair->tx))
			return true;
		if (nic->port->waiting && nic->port->waiting(nic, pair))
			return true;
		if (pair->rx_starved) {
			if (worker_waiting(nic, pair->rx))
				return true;
		} else if (nic->port->generates && pair->rx->live) {
			if (pair->next_ns <= now_ns)
				return true;
			if (pair->next_ns < *due_ns)
				*due_ns = pair->next_ns;
		}
	}
	return __atomic_load_n(&nic->inject->state, __ATOMIC_ACQUIRE) == VDP_INJECT_FULL;
}

/* Until an event (true) or due_ns. */
static bool worker_wait(struct vdp_nic *nic, uint64_t due_ns)
{
	struct pollfd set = {.fd = nic->epoll_fd, .events = POLLIN};
	uint64_t now = vdp_now_ns(CLOCK_MONOTONIC), left = due_ns > now ? due_ns - now : 0;
	struct timespec wait = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};

	return ppoll(&set, 1, &wait, NULL) != 0; /* epoll itself counts in milliseconds */
}

/* Was the queue's doorbell rung by a store to its page? Nobody else writes VDP_PAGE_QUIET: no queue has that
 * number. */
static bool worker_page_rung(struct vdp_nic *nic, struct vdp_queue *queue)
{
	uint32_t *page = vdp_nic_page(nic, queue->ring.index);

	if (!queue->live || VDP_LIKELY(__atomic_load_n(page, __ATOMIC_RELAXED) == VDP_PAGE_QUIET))
		return false;
	/* Before the ring is looked at: a store that comes later must be found the next time. */
	__atomic_exchange_n(page, VDP_PAGE_QUIET, __ATOMIC_SEQ_CST);
	vdp_count(&queue->stats.page_kicks, 1);
	return true;
}

static bool worker_pages_rung(struct vdp_nic *nic)
{
	bool rung = false;

	for (uint32_t i = 0; i < nic->active_pairs; i++) {
		rung |= worker_page_rung(nic, nic->pairs[i].tx);
		rung |= worker_page_rung(nic, nic->pairs[i].rx);
	}
	return rung;
}

/* A store to a page wakes nobody, so look at them again and again. */
static void worker_watch_pages(struct vdp_nic *nic, uint64_t due_ns)
{
	uint64_t now;

	do {
		if (worker_pages_rung(nic))
			return;
		now = vdp_now_ns(CLOCK_MONOTONIC);
	} while (now < due_ns && !worker_wait(nic, due_ns - now < NIC_LOOK_NS ? due_ns : now + NIC_LOOK_NS));
}

/* Until an event, or due_ns. */
static void worker_sleep(struct vdp_nic *nic, uint64_t due_ns)
{
	bool watch = nic->conf.pages && nic->running && nic->error.code == VDP_NIC_OK;
	struct epoll_event events[NIC_EVENTS];
	int n;

	vdp_count(&nic->stats.sleeps, 1);
	if (watch)
		worker_watch_pages(nic, due_ns);
	else if (due_ns != UINT64_MAX)
		worker_wait(nic, due_ns);
	n = epoll_wait(nic->epoll_fd, events, NIC_EVENTS, watch || due_ns != UINT64_MAX ? 0 : -1);
	for (int i = 0; i < n; i++) {
		if (events[i].data.u32 != VDP_NIC_NO_QUEUE)
			vdp_count(&nic->queues[events[i].data.u32].stats.kicks, 1);
	}
}

static void worker_rest(struct vdp_nic *nic, uint64_t now_ns)
{
	uint64_t due_ns;

	worker_mind_kicks(nic, true);
	/* The driver must see that we want to be kicked before we look for the last time. Ref: 2.7.10 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!worker_has_work(nic, now_ns, &due_ns) && nic->error.code == VDP_NIC_OK)
		worker_sleep(nic, due_ns);
	if (nic->error.code == VDP_NIC_OK)
		worker_mind_kicks(nic, false);
}

static void worker_idle(struct vdp_nic *nic)
{
	uint64_t now;

	vdp_relax();
	if (nic->conf.poll_us == UINT32_MAX)
		return;
	now = vdp_now_ns(CLOCK_MONOTONIC);
	if (nic->idle_since_ns == 0)
		nic->idle_since_ns = now;
	if (now - nic->idle_since_ns >= nic->conf.poll_us * (uint64_t)1000)
		worker_rest(nic, now);
}

static void worker_serve(struct vdp_nic *nic)
{
	uint64_t begin = vdp_tsc();
	uint32_t moved = worker_poll(nic);

	vdp_count(&nic->stats.polls, 1);
	if (moved > 0) {
		vdp_count(&nic->stats.packets, moved);
		vdp_count(&nic->stats.busy_cycles, vdp_tsc() - begin);
		nic->idle_since_ns = 0;
	} else {
		vdp_count(&nic->stats.empty_polls, 1);
		if (nic->error.code == VDP_NIC_OK)
			worker_idle(nic);
	}
	if (VDP_UNLIKELY(nic->error.code != VDP_NIC_OK))
		worker_report(nic);
}

static void *worker_main(void *arg)
{
	struct vdp_nic *nic = arg;

	if (sigsetjmp(*vdp_guard_arm(), 0)) {
		vdp_ring_fail(&nic->queues[nic->serving].ring, VDP_NIC_MEMORY_GONE, 0);
		worker_report(nic);
	}
	while (!__atomic_load_n(&nic->stop, __ATOMIC_RELAXED)) {
		if (VDP_UNLIKELY(__atomic_load_n(&nic->want_pause, __ATOMIC_RELAXED)))
			worker_park(nic);
		else if (VDP_LIKELY(nic->running && nic->error.code == VDP_NIC_OK))
			worker_serve(nic);
		else
			worker_sleep(nic, UINT64_MAX);
	}
	return NULL; /* still armed: who joins us may poke us until we are gone */
}

static int worker_pin(struct vdp_nic *nic, pthread_attr_t *attr)
{
	cpu_set_t *set = CPU_ALLOC(nic->conf.cpu + 1);
	size_t size = CPU_ALLOC_SIZE(nic->conf.cpu + 1);
	int rc;

	if (!set)
		return -ENOMEM;
	CPU_ZERO_S(size, set);
	CPU_SET_S(nic->conf.cpu, size, set);
	rc = -pthread_attr_setaffinity_np(attr, size, set);
	CPU_FREE(set);
	return rc;
}

static int worker_create(struct vdp_nic *nic)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int rc;

	pthread_attr_init(&attr);
	rc = nic->conf.cpu >= 0 ? worker_pin(nic, &attr) : 0;
	/* Signals are Python's; those of a fault are ours and must not be blocked. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc == 0)
		rc = -pthread_create(&nic->thread, &attr, worker_main, nic);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc < 0)
		return rc;
	pthread_setname_np(nic->thread, "vdp-nic");
	return 0;
}

int vdp_nic_start(struct vdp_nic *nic)
{
	int rc;

	nic->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (nic->epoll_fd < 0)
		return -errno;
	nic->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (nic->wake_fd < 0) {
		rc = -errno;
		close(nic->epoll_fd);
		return rc;
	}
	rc = vdp_nic_watch(nic, nic->wake_fd, VDP_NIC_NO_QUEUE);
	nic->want_pause = nic->pause_depth = 1;
	if (rc == 0)
		rc = worker_create(nic);
	if (rc < 0) {
		close(nic->wake_fd);
		close(nic->epoll_fd);
		return rc;
	}
	pthread_mutex_lock(&nic->lock);
	while (!nic->parked)
		pthread_cond_wait(&nic->changed, &nic->lock);
	pthread_mutex_unlock(&nic->lock);
	return 0;
}

static void nic_let_go(struct vdp_nic *nic)
{
	pthread_mutex_lock(&nic->lock);
	__atomic_store_n(&nic->want_pause, 0, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&nic->changed);
	pthread_mutex_unlock(&nic->lock);
}

/* The end of the next slice of a wait until until_ns, as condition variables and joins want it. */
static struct timespec nic_slice(clockid_t clock, uint64_t left_ns)
{
	uint64_t end = vdp_now_ns(clock) + (left_ns < NIC_POKE_NS ? left_ns : NIC_POKE_NS);

	return (struct timespec){(time_t)(end / 1000000000u), (long)(end % 1000000000u)};
}

void vdp_nic_stop(struct vdp_nic *nic)
{
	struct timespec slice;

	__atomic_store_n(&nic->stop, 1, __ATOMIC_RELAXED);
	nic_let_go(nic);
	vdp_nic_wake(nic);
	for (;;) {
		slice = nic_slice(CLOCK_REALTIME, NIC_POKE_NS);
		if (pthread_timedjoin_np(nic->thread, NULL, &slice) == 0)
			break;
		vdp_guard_poke(nic->thread);
	}
	close(nic->wake_fd);
	close(nic->epoll_fd);
}

int vdp_nic_pause(struct vdp_nic *nic, uint32_t timeout_ms)
{
	uint64_t until = vdp_now_ns(CLOCK_MONOTONIC) + timeout_ms * (uint64_t)1000000, now;
	struct timespec slice;
	int rc;

	if (nic->pause_depth > 0) {
		nic->pause_depth++;
		return 0;
	}
	pthread_mutex_lock(&nic->lock);
	__atomic_store_n(&nic->want_pause, 1, __ATOMIC_RELAXED);
	vdp_nic_wake(nic);
	while (!nic->parked && (now = vdp_now_ns(CLOCK_MONOTONIC)) < until) {
		slice = nic_slice(CLOCK_MONOTONIC, until - now);
		/* A guest may have made its call fd blocking, and filled it. */
		if (pthread_cond_timedwait(&nic->changed, &nic->lock, &slice) == ETIMEDOUT)
			vdp_guard_poke(nic->thread);
	}
	rc = nic->parked ? 0 : -ETIMEDOUT;
	nic->pause_depth = nic->parked;
	__atomic_store_n(&nic->want_pause, nic->pause_depth, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&nic->lock);
	return rc;
}

void vdp_nic_resume(struct vdp_nic *nic)
{
	if (nic->pause_depth == 0 || --nic->pause_depth > 0)
		return;
	/* Nobody may forget this: a stale translation would reach memory that is not the guest's any more. */
	if (nic->dma && vdp_dma_generation(nic->dma) != nic->dma_generation)
		vdp_nic_refresh(nic);
	nic_let_go(nic);
}

uint64_t vdp_tsc_hz(void)
{
	struct timespec wait = {.tv_nsec = 10000000};
	uint64_t ticks = vdp_tsc(), ns = vdp_now_ns(CLOCK_MONOTONIC_RAW);

	nanosleep(&wait, NULL);
	ns = vdp_now_ns(CLOCK_MONOTONIC_RAW) - ns;
	ticks = vdp_tsc() - ticks;
	return (uint64_t)((double)ticks * 1e9 / (double)ns);
}

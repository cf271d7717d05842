/* test_workers.c - protects the worker pool: every unit once, all done at the barrier, nothing left behind, and a thread
 * that keeps out of the host's way. Run under ThreadSanitizer too (make B=build-tsan SANITIZE=thread). */
#include "../../encoder/base/workers.h"
#include "unit.h"

#include <dirent.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNITS 1000

struct work {
    _Atomic int hits[UNITS];
    _Atomic int early; /* a unit of the second round that began before the first was over */
    size_t units;
};

static void first(struct worker *worker, size_t index, void *context) {
    struct work *work = context;
    (void)worker;
    atomic_fetch_add(&work->hits[index], 1);
}

static void second(struct worker *worker, size_t index, void *context) {
    struct work *work = context;
    (void)worker, (void)index;
    for (size_t i = 0; i < work->units; i++)
        if (atomic_load(&work->hits[i]) != 1)
            atomic_store(&work->early, 1);
}

static void two_rounds(struct worker *worker, void *context) {
    struct work *work = context;
    worker_each(worker, work->units, first, work);
    worker_each(worker, 8, second, work);
}

static void each_unit_runs_once_before_the_barrier(void **state) {
    static const unsigned counts[] = {1, 2, 3, 5, 16};
    static struct work work;
    struct fault fault;
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct workers *pool;
        assert_int_equal(workers_open(&pool, counts[c], 4096, 0, &fault), 0);
        for (size_t round = 0; round < 200; round++) {
            memset(&work, 0, sizeof work);
            work.units = round % 40; /* fewer units than workers, and none, too */
            workers_run(pool, two_rounds, &work);
            for (size_t i = 0; i < UNITS; i++)
                assert_int_equal(atomic_load(&work.hits[i]), i < work.units);
            assert_int_equal(atomic_load(&work.early), 0);
        }
        workers_close(pool);
    }
}

struct self {
    _Atomic int wrong;
    _Atomic unsigned seen;
};

static void look_at_self(struct worker *worker, void *context) {
    struct self *self = context;
    sigset_t mask;
    char name[16] = "";
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    pthread_getname_np(pthread_self(), name, sizeof name);
    if (worker_self() != worker || !worker->blas || (uintptr_t)worker->scratch % 64 || !sigismember(&mask, SIGUSR1) ||
        !sigismember(&mask, SIGINT) || strncmp(name, "penult/", 7) != 0 || fegetround() != FE_TONEAREST)
        atomic_store(&self->wrong, 1);
    memset(worker->scratch, (int)worker->index, 4096);
    atomic_fetch_or(&self->seen, 1u << worker->index);
}

/* The seat is found from the stack; signals are blocked; the mode is ours even if the maker's was another. */
static void a_worker_knows_itself_and_nothing_of_the_host(void **state) {
    struct self self = {0};
    struct workers *pool;
    struct fault fault;
    (void)state;
    fesetround(FE_UPWARD);
    assert_int_equal(workers_open(&pool, 5, 4096, (size_t)128 << 20, &fault), 0);
    workers_run(pool, look_at_self, &self);
    workers_close(pool);
    assert_int_equal(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
    assert_int_equal(atomic_load(&self.wrong), 0);
    assert_int_equal(atomic_load(&self.seen), 31);
}

static unsigned threads_of_this_process(void) {
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static unsigned long mapped_pages(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages;
}

static void nothing(struct worker *worker, void *context) {
    (void)worker, (void)context;
}

static void closing_leaves_nothing(void **state) {
    struct workers *pool;
    struct fault fault;
    unsigned long before = 0;
    unsigned threads = threads_of_this_process();
    (void)state;
    for (int i = 0; i < 300; i++) {
        assert_int_equal(workers_open(&pool, 3, 1 << 16, (size_t)128 << 20, &fault), 0);
        if (i % 3)
            workers_run(pool, nothing, NULL);
        workers_close(pool);
        if (i == 50)
            before = mapped_pages();
    }
    assert_int_equal(threads_of_this_process(), threads);
    /* a mapping left behind at each of the 250 closings would be 250 pages at least; a sanitizer's own take some dozens */
    assert_true(mapped_pages() < before + 200);
    workers_close(NULL);
}

/* The child has no threads to join: closing there must not wait for them. */
static void closing_in_a_forked_child_does_not_hang(void **state) {
    struct workers *pool;
    struct fault fault;
    int status;
    (void)state;
    assert_int_equal(workers_open(&pool, 2, 4096, 0, &fault), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        workers_close(pool);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    workers_run(pool, nothing, NULL);
    workers_close(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_unit_runs_once_before_the_barrier),
        cmocka_unit_test(a_worker_knows_itself_and_nothing_of_the_host),
        cmocka_unit_test(closing_leaves_nothing),
        cmocka_unit_test(closing_in_a_forked_child_does_not_hang),
    };
    return cmocka_run_group_tests_name("workers", tests, NULL, NULL);
}

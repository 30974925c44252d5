// A wall clock that a test sets: preloaded into a process, it adds to the system's clock the microseconds that stand in the
// first eight bytes of the file $STARTJOBS_TEST_CLOCK. Where the next eight bytes are not 0, the clock stands still at so many
// microseconds. The monotonic clock stays what it is.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *told(void) {
    static volatile int64_t *shared;
    if (!shared) {
        int file = open(getenv("STARTJOBS_TEST_CLOCK"), O_RDONLY);
        void *page = mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0);
        close(file);
        if (page == MAP_FAILED) abort();
        shared = page;
    }
    return shared;
}

static int64_t now_us(void) {
    struct timespec real;
    if (told()[1]) return told()[1];
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
    return (int64_t)real.tv_sec * 1000000 + real.tv_nsec / 1000 + *told();
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    (void)zone;
    int64_t now = now_us();
    tv->tv_sec = now / 1000000;
    tv->tv_usec = now % 1000000;
    return 0;
}

time_t time(time_t *out) {
    time_t now = now_us() / 1000000;
    if (out) *out = now;
    return now;
}

int clock_gettime(clockid_t clock, struct timespec *ts) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return syscall(SYS_clock_gettime, clock, ts);
    int64_t now = now_us();
    ts->tv_sec = now / 1000000;
    ts->tv_nsec = now % 1000000 * 1000;
    return 0;
}

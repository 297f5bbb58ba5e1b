/* The machine around the deciding: what every /init of it needs. */
#include "decide.h"

#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>

void off(void) {
    fflush(stdout);
    sync();
    reboot(RB_POWER_OFF);
    pause();
}

void need(const char *what, int failed) {
    if (failed >= 0)
        return;
    printf("DECIDE FAILED %s %s\n", what, strerrorname_np(errno));
    off();
}

void *read_whole(const char *path, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    need(path, fd);
    struct stat status;
    need(path, fstat(fd, &status));
    char *bytes = malloc(status.st_size + 1);
    for (*size = 0; *size < (size_t)status.st_size;) {
        ssize_t count = read(fd, bytes + *size, status.st_size - *size);
        need(path, count > 0 ? 0 : -1);
        *size += count;
    }
    bytes[*size] = 0;
    close(fd);
    return bytes;
}

void write_whole(const char *path, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    need(path, fd);
    ssize_t written = write(fd, bytes, size);
    need(path, written == (ssize_t)size ? 0 : -1);
    close(fd);
}

static void load_modules(void) {
    char path[64];
    for (int number = 0;; number++) {
        snprintf(path, sizeof path, "/modules/%d.ko", number);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return;
        need(path, syscall(SYS_finit_module, fd, "", 0));
        close(fd);
    }
}

void prepare(void) {
    static const char *const mounts[][2] = {
        {"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"securityfs", "/sys/kernel/security"}};
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        mkdir(mounts[i][1], 0755);
        if (mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, "") < 0 && errno != EBUSY)
            need(mounts[i][1], -1);
    }
    klogctl(8, NULL, 1); /* the kernel's own words stay off the console */
    load_modules();
}

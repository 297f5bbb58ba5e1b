/* /init of a machine in which the kernel judges: each policy of /policies is written to new_policy, the errno is told, and
   what was taken is read back and deleted again. None is activated, so nothing is denied.

   /policies is a row of messages: a length of 32 bits, little-endian, and so many bytes.
   Each line is `JUDGED NUMBER ERRNO`, or `JUDGED NUMBER taken VERSION NAME` with the name's bytes in hex. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define IPE "/sys/kernel/security/ipe/"

static void off(void) {
    fflush(stdout);
    sync();
    reboot(RB_POWER_OFF);
    pause();
}

static void need(const char *what, int failed) {
    if (failed >= 0)
        return;
    printf("JUDGE FAILED %s %s\n", what, strerrorname_np(errno));
    off();
}

static int write_once(const char *path, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    need(path, fd);
    errno = 0;
    ssize_t written = write(fd, bytes, size);
    int error = written < 0 ? errno : (size_t)written == size ? 0 : EIO;
    close(fd);
    return error;
}

/* The policy that is loaded: its folder's name. No other may be there. */
static void loaded(char *name, size_t size) {
    DIR *all = opendir(IPE "policies");
    need("policies", all ? 0 : -1);
    *name = 0;
    for (struct dirent *entry; (entry = readdir(all));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        errno = EEXIST;
        need("one policy", *name ? -1 : 0);
        snprintf(name, size, "%s", entry->d_name);
    }
    closedir(all);
}

static void told(int number) {
    char name[300], path[400], text[300];
    loaded(name, sizeof name);
    errno = ENOENT;
    need("a policy that was taken", *name ? 0 : -1);
    snprintf(path, sizeof path, IPE "policies/%s/version", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    need("version", fd);
    ssize_t length = read(fd, text, sizeof text - 1);
    need("version", length);
    text[length] = 0;
    close(fd);
    printf("JUDGED %d taken %s ", number, text);
    for (const unsigned char *byte = (unsigned char *)name; *byte; byte++)
        printf("%02x", *byte);
    puts("");
    snprintf(path, sizeof path, IPE "policies/%s/delete", name);
    errno = write_once(path, "1", 1);
    need("delete", errno ? -1 : 0);
    loaded(name, sizeof name);
    errno = EBUSY;
    need("deletion", *name ? -1 : 0);
}

int main(void) {
    mkdir("/sys", 0755);
    need("sysfs", mount("sysfs", "/sys", "sysfs", 0, ""));
    need("securityfs", mount("securityfs", "/sys/kernel/security", "securityfs", 0, ""));
    klogctl(8, NULL, 1); /* the kernel's own words stay off the console */
    FILE *policies = fopen("/policies", "re");
    need("/policies", policies ? 0 : -1);
    uint32_t length;
    int number = 0;
    for (; fread(&length, sizeof length, 1, policies) == 1; number++) {
        char *message = malloc(length + 1);
        errno = EIO;
        need("a policy", message && fread(message, 1, length, policies) == length ? 0 : -1);
        int error = write_once(IPE "new_policy", message, length);
        if (error)
            printf("JUDGED %d %s\n", number, strerrorname_np(error));
        else
            told(number);
        free(message);
    }
    printf("JUDGED ALL %d\n", number);
    off();
}

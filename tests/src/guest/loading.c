/* What the kernel itself loads: modules, firmware, another kernel. */
#include "attack.h"

#include <linux/kexec.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MODULE_INIT_COMPRESSED_FILE 4
#define TRIGGER "/sys/devices/virtual/misc/test_firmware/trigger_request"
#define SEARCH_PATH "/sys/module/firmware_class/parameters/path"
#define FALLBACK "/proc/sys/kernel/firmware_config/force_sysfs_fallback"
#define NO_FALLBACK "/proc/sys/kernel/firmware_config/ignore_sysfs_fallback"
#define TIMEOUT "/sys/class/firmware/timeout"

enum verdict finit_module_file(const char *name, int argc, char **argv) {
    (void)argc;
    const char *dot = strrchr(argv[0], '.');
    int flags = dot && strcmp(dot, ".ko") ? MODULE_INIT_COMPRESSED_FILE : 0;
    return report(name, "finit_module", syscall(SYS_finit_module, open_needed(name, argv[0]), "", flags));
}

enum verdict init_module_file(const char *name, int argc, char **argv) {
    (void)argc;
    size_t size;
    char *bytes = read_file(name, argv[0], &size);
    return report(name, "init_module", syscall(SYS_init_module, bytes, size, ""));
}

/* The test_firmware module asks the kernel for the firmware of this name. */
static enum verdict trigger(const char *name, const char *wanted) {
    need(name, "test_firmware", access(TRIGGER, W_OK));
    return report(name, "request_firmware", write_file(TRIGGER, wanted, strlen(wanted)));
}

enum verdict firmware(const char *name, int argc, char **argv) {
    (void)argc;
    return trigger(name, argv[0]);
}

enum verdict firmware_elsewhere(const char *name, int argc, char **argv) {
    (void)argc;
    if (report(name, "path", write_file(SEARCH_PATH, argv[1], strlen(argv[1]))) == REFUSED)
        return REFUSED;
    enum verdict verdict = trigger(name, argv[0]);
    write_file(SEARCH_PATH, "\n", 1);
    return verdict;
}

enum verdict firmware_fallback(const char *name, int argc, char **argv) {
    (void)argc;
    write_file(NO_FALLBACK, "0", 1);
    if (report(name, "force", write_file(FALLBACK, "1", 1)) == REFUSED)
        return REFUSED;
    need(name, "timeout", write_file(TIMEOUT, "5", 1));
    char loading[300], data[300];
    snprintf(loading, sizeof loading, "/sys/class/firmware/%s/loading", argv[0]);
    snprintf(data, sizeof data, "/sys/class/firmware/%s/data", argv[0]);
    fflush(stdout);
    pid_t feeder = fork();
    need(name, "fork", feeder);
    if (feeder == 0) {
        for (int tenths = 0; tenths < 60 && write_file(loading, "1", 1) < 0; tenths++)
            usleep(100000);
        write_file(data, "evil", 4);
        _exit(write_file(loading, "0", 1) < 0);
    }
    enum verdict verdict = trigger(name, argv[0]);
    write_file(FALLBACK, "0", 1);
    waitpid(feeder, NULL, 0);
    return verdict;
}

enum verdict kexec_file(const char *name, int argc, char **argv) {
    (void)argc;
    int fd = open_needed(name, argv[0]);
    return report(name, "kexec_file_load", syscall(SYS_kexec_file_load, fd, -1, 1, "", KEXEC_FILE_NO_INITRAMFS));
}

enum verdict kexec_pages(const char *name, int argc, char **argv) {
    (void)argc, (void)argv;
    static char code[4096] = {(char)0xf4};
    struct kexec_segment segment = {code, sizeof code, (void *)0x1000000, sizeof code};
    return report(name, "kexec_load", syscall(SYS_kexec_load, 0x1000000, 1, &segment, KEXEC_ARCH_DEFAULT));
}

/* What can be tried with a file, or without one, so that the kernel asks its policy. */
#include "decide.h"

#include <linux/kexec.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif
#define MODULE_INIT_COMPRESSED_FILE 4
#define FIRMWARE_PATH "/sys/module/firmware_class/parameters/path"
#define FIRMWARE_TRIGGER "/sys/devices/virtual/misc/test_firmware/trigger_request"
#define NO_FALLBACK "/proc/sys/kernel/firmware_config/ignore_sysfs_fallback"
#define IMA "/sys/kernel/security/ima/policy"

static int error_of(long result) {
    return result < 0 ? errno : 0;
}

static int opened(const struct place *place, enum file file) {
    int fd = open(path_of(place, file), O_RDONLY | O_CLOEXEC);
    need(path_of(place, file), fd);
    return fd;
}

static int execute(const struct place *place, enum file file) {
    char *const arguments[] = {(char *)path_of(place, file), NULL}, *const environment[] = {NULL};
    execve(arguments[0], arguments, environment);
    return errno;
}

static int ask(const struct place *place, enum file file) {
    char *const arguments[] = {"asked", NULL}, *const environment[] = {NULL};
    int flags = AT_EMPTY_PATH | AT_EXECVE_CHECK;
    return error_of(syscall(SYS_execveat, opened(place, file), "", arguments, environment, flags));
}

static int start(const struct place *place) { return execute(place, PROGRAM); }
static int start_script(const struct place *place) { return execute(place, SCRIPT); }
static int ask_program(const struct place *place) { return ask(place, PROGRAM); }
static int ask_script(const struct place *place) { return ask(place, SCRIPT); }

static int map(const struct place *place) {
    void *map = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, opened(place, PROGRAM), 0);
    return map == MAP_FAILED ? errno : 0;
}

static int protect(const struct place *place) {
    void *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, opened(place, PROGRAM), 0);
    need("mmap", map == MAP_FAILED ? -1 : 0);
    return error_of(mprotect(map, 4096, PROT_READ | PROT_EXEC));
}

static int map_nothing(void) {
    void *map = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return map == MAP_FAILED ? errno : 0;
}

static int protect_nothing(void) {
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need("mmap", map == MAP_FAILED ? -1 : 0);
    return error_of(mprotect(map, 4096, PROT_READ | PROT_EXEC));
}

/* What was loaded goes again, so that it can be tried once more. */
static int unloaded(long loading) {
    if (loading < 0)
        return errno;
    need("delete_module", syscall(SYS_delete_module, "dummy", O_NONBLOCK));
    return 0;
}

static int load_module(const struct place *place) {
    return unloaded(syscall(SYS_finit_module, opened(place, MODULE), "", 0));
}

static int load_packed_module(const struct place *place) {
    return unloaded(syscall(SYS_finit_module, opened(place, PACKED_MODULE), "", MODULE_INIT_COMPRESSED_FILE));
}

static int load_module_bytes(void) {
    size_t size;
    char *bytes = read_whole(SOURCE "/module.ko", &size);
    return unloaded(syscall(SYS_init_module, bytes, size, ""));
}

/* Below zero with errno set where it fails. */
static int tell(const char *path, const char *words) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    need(path, fd);
    return write(fd, words, strlen(words)) < 0 ? -1 : 0;
}

/* The kernel looks for firmware by name in a folder, and as init sees it. */
static int request_firmware(const struct place *place) {
    need("no fallback", tell(NO_FALLBACK, "1"));
    need("firmware path", tell(FIRMWARE_PATH, place->folder));
    return error_of(tell(FIRMWARE_TRIGGER, file_names[FIRMWARE]));
}

/* Where there is no file of it, user space may hand the bytes over, if the policy lets it. */
static int request_firmware_bytes(void) {
    need("fallback", tell(NO_FALLBACK, "0"));
    return error_of(tell(FIRMWARE_TRIGGER, "nowhere.bin"));
}

static int load_kernel(const struct place *place) {
    return error_of(syscall(SYS_kexec_file_load, opened(place, KERNEL), -1, 1, "", KEXEC_FILE_NO_INITRAMFS));
}

static int load_kernel_bytes(void) {
    static char code[4096] = {(char)0xf4};
    struct kexec_segment segment = {code, sizeof code, (void *)0x1000000, sizeof code};
    return error_of(syscall(SYS_kexec_load, 0x1000000, 1, &segment, KEXEC_ARCH_DEFAULT));
}

static int load_ima_policy(const struct place *place) {
    return error_of(tell(IMA, path_of(place, IMA_POLICY)));
}

const struct way ways[] = {
    {.name = "exec", .with_file = start},
    {.name = "exec-script", .with_file = start_script},
    {.name = "check", .with_file = ask_program},
    {.name = "check-script", .with_file = ask_script},
    {.name = "mmap", .with_file = map},
    {.name = "mprotect", .with_file = protect},
    {.name = "finit-module", .with_file = load_module},
    {.name = "finit-module-packed", .with_file = load_packed_module},
    {.name = "firmware", .with_file = request_firmware, .by_folder = 1},
    {.name = "kexec-file", .with_file = load_kernel},
    {.name = "ima-policy", .with_file = load_ima_policy},
    {.name = "mmap-anonymous", .without = map_nothing},
    {.name = "mprotect-anonymous", .without = protect_nothing},
    {.name = "init-module", .without = load_module_bytes},
    {.name = "firmware-bytes", .without = request_firmware_bytes},
    {.name = "kexec", .without = load_kernel_bytes},
};
const size_t way_count = sizeof ways / sizeof *ways;

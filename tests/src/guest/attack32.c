/* attack32 dm-version 32: what `attack dm-version` cannot try on arm64, where 32-bit calls take a 32-bit program. It stands
 * alone, without a C library; the device-mapper's control device is there already. Its output and exit status are
 * `attack`'s. */
#define EXIT 1
#define WRITE 4
#define OPEN 5
#define IOCTL 54
#define READ_WRITE 2
#define DM_VERSION 0xc138fd00
#define EPERM 1

static long call(long number, long first, long second, long third) {
    register long r7 __asm__("r7") = number, r0 __asm__("r0") = first, r1 __asm__("r1") = second, r2 __asm__("r2") = third;
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
    return r0;
}

static void say(const char *text) {
    long length = 0;
    while (text[length])
        length++;
    call(WRITE, 1, (long)text, length);
}

void _start(void) {
    /* struct dm_ioctl: its version first, its own length at byte 12. */
    static unsigned message[78] = {4, 0, 0, sizeof message};
    long fd = call(OPEN, (long)"/dev/mapper/control", READ_WRITE, 0);
    if (fd < 0) {
        say("attack dm-version control not-tried\n");
        call(EXIT, 2, 0, 0);
    }
    long result = call(IOCTL, fd, (long)DM_VERSION, (long)message);
    say(result >= 0 ? "attack dm-version 32 worked\n"
                    : result == -EPERM ? "attack dm-version 32 refused EPERM\n" : "attack dm-version 32 refused\n");
    call(EXIT, result >= 0 ? 0 : 1, 0, 0);
    __builtin_unreachable();
}

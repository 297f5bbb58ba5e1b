/* Audit records over netlink, in place of auditd: the kernel then keeps each until it has been taken. */
#include "decide.h"

#include <linux/audit.h>
#include <linux/netlink.h>
#include <sys/socket.h>

/* Records that come in before they are taken. */
#define BACKLOG 8192
#define RECEIVE_BYTES (16 << 20)

static int records;

struct message {
    struct nlmsghdr header;
    char payload[8970]; /* MAX_AUDIT_MESSAGE_LENGTH */
};

static void send_message(int type, const void *payload, size_t size) {
    static struct message message;
    message.header = (struct nlmsghdr){.nlmsg_len = NLMSG_LENGTH(size), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST};
    memcpy(message.payload, payload, size);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent = sendto(records, &message, message.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel);
    need("audit message", sent);
}

/* The next message, its payload a text. */
static const struct message *receive(void) {
    static struct message message;
    ssize_t size = recv(records, &message, sizeof message - 1, 0);
    need("audit record", size < (ssize_t)sizeof message.header ? -1 : 0);
    ((char *)&message)[size] = 0;
    return &message;
}

void records_open(void) {
    records = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
    need("audit socket", records);
    int bytes = RECEIVE_BYTES;
    need("receive buffer", setsockopt(records, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes));
    struct audit_status status = {
        .mask = AUDIT_STATUS_PID | AUDIT_STATUS_BACKLOG_LIMIT | AUDIT_STATUS_RATE_LIMIT | AUDIT_STATUS_ENABLED,
        .pid = getpid(),
        .backlog_limit = BACKLOG,
    };
    send_message(AUDIT_SET, &status, sizeof status);
}

void records_write(FILE *to) {
    static unsigned number;
    char mark[40], seen[50];
    snprintf(mark, sizeof mark, "mark %u.", ++number);
    snprintf(seen, sizeof seen, "msg='%s", mark);
    /* The one kind of a user's record that is taken while the auditing of system calls is off. Records come in order. */
    send_message(AUDIT_USER_AVC, mark, strlen(mark) + 1);
    for (;;) {
        const struct message *message = receive();
        if (message->header.nlmsg_type == AUDIT_USER_AVC && strstr(message->payload, seen))
            return;
        if (message->header.nlmsg_type != NLMSG_ERROR)
            fprintf(to, "audit: type=%u %s\n", message->header.nlmsg_type, message->payload);
    }
}

unsigned records_lost(void) {
    send_message(AUDIT_GET, "", 0);
    for (;;) {
        const struct message *message = receive();
        if (message->header.nlmsg_type == AUDIT_GET) {
            struct audit_status status;
            memcpy(&status, message->payload, sizeof status);
            return status.lost;
        }
    }
}

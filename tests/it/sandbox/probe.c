/* A game engine that tells what it sees: `GET /read/PATH` answers that file, `GET /write/PATH` what became of a write there.
   With $SLOW_TO_END it takes so many milliseconds to end, with $NEVER_ENDS for ever. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void stop(int signal) {
    if (getenv("NEVER_ENDS")) return;
    if (getenv("SLOW_TO_END")) usleep(atoi(getenv("SLOW_TO_END")) * 1000);
    _exit(0);
}

static void answer(int peer, char *path) {
    char bytes[16384];
    if (!strncmp(path, "/read", 5)) {
        int file = open(path + 5, O_RDONLY), count = 0;
        if (file < 0) { dprintf(peer, "errno %d", errno); return; }
        while ((count = read(file, bytes, sizeof bytes)) > 0) if (write(peer, bytes, count) < 0) break;
        close(file);
    } else if (!strncmp(path, "/write", 6)) {
        int file = open(path + 6, O_WRONLY | O_CREAT, 0600);
        if (file < 0) { dprintf(peer, "errno %d", errno); return; }
        dprintf(peer, "written");
        close(file);
    } else dprintf(peer, "uid %d gid %d", getuid(), getgid());
}

int main(void) {
    signal(SIGTERM, stop);
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons(8080);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return 1;
    for (;;) {
        int peer = accept(listener, 0, 0);
        if (peer < 0) continue;
        char request[1024] = {0};
        if (read(peer, request, sizeof request - 1) > 4) {
            char *path = request + 4, *end = strchr(path, ' ');
            if (end) *end = 0;
            dprintf(peer, "HTTP/1.0 200 OK\r\n\r\n");
            answer(peer, path);
        }
        close(peer);
    }
}

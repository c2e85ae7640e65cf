/* A port for a server that is killed and comes back to it. It is below those that the system hands
 * out (net.ipv4.ip_local_port_range), since one of these may be somebody else's by then: another
 * test's, or that of the very client that tries to connect, which then is connected to itself. */
#ifndef LS_TESTS_PORT_H
#define LS_TESTS_PORT_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORTS_FROM 10000
#define PORTS      20000

static inline bool port_is_free(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return bound;
}

/* 0: none is. Tests that run at the same time begin to look at different places. */
static inline unsigned free_port(void)
{
    static unsigned tried;
    for (unsigned i = 0; i < PORTS; i++) {
        unsigned port = PORTS_FROM + ((unsigned)getpid() * 41 + tried++) % PORTS;
        if (port_is_free(port)) {
            return port;
        }
    }
    return 0;
}

#endif

/* What systemd wants to know, where there is one. */
#ifndef LS_SERVER_NOTIFY_H
#define LS_SERVER_NOTIFY_H

/* Sends the state, such as "READY=1", to $NOTIFY_SOCKET; does nothing where that is not set. */
void notify(const char *state);

#endif

/* control.h - carries out the host's control messages. */
#ifndef BROOD_SUPERVISOR_CONTROL_H
#define BROOD_SUPERVISOR_CONTROL_H

#include "supervisor/state.h"

/* Receives one message.  Called when the control socket is readable. */
void brood__control_handle(struct supervisor *s);

#endif

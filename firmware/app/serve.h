/* The application: takes inputs, runs the model and returns outputs over the UART. */
#ifndef SERVE_H
#define SERVE_H

/* Prints the boot banner, then answers commands for ever. */
void serve(void);

#endif

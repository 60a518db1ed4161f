#include "board.h"
#include "serve.h"

int main(void)
{
    board_init();
    serve();
    return 0;
}

/* A libmodbus server: every holding register holds its own address.
 *
 * Usage: serve_libmodbus tcp|rtu PORT. PORT is a serial device, or 0 for any free TCP port. Says "ready PORT".
 */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REGISTERS 8000

static void answer_until_gone(modbus_t *ctx, modbus_mapping_t *map) {
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        int length = modbus_receive(ctx, query);
        if (length > 0) {
            modbus_reply(ctx, query, length, map);
        } else if (length < 0 && errno != EMBBADCRC && errno != ETIMEDOUT) {
            return;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        return 2;
    }
    modbus_mapping_t *map = modbus_mapping_new(0, 0, REGISTERS, 0);
    for (int i = 0; i < REGISTERS; i++) {
        map->tab_registers[i] = (uint16_t)i;
    }
    if (strcmp(argv[1], "rtu") == 0) {
        modbus_t *ctx = modbus_new_rtu(argv[2], 9600, 'N', 8, 1);
        modbus_set_slave(ctx, 1);
        if (modbus_connect(ctx) != 0) {
            return 1;
        }
        printf("ready %s\n", argv[2]);
        fflush(stdout);
        answer_until_gone(ctx, map);
        return 0;
    }
    modbus_t *ctx = modbus_new_tcp("127.0.0.1", atoi(argv[2]));
    int listening = modbus_tcp_listen(ctx, 4);
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    if (listening < 0 || getsockname(listening, (struct sockaddr *)&at, &size) != 0) {
        return 1;
    }
    printf("ready %d\n", ntohs(at.sin_port));
    fflush(stdout);
    while (modbus_tcp_accept(ctx, &listening) >= 0) {
        answer_until_gone(ctx, map);
        modbus_close(ctx);
    }
    return 0;
}

/* vlock help, --help: made from the tables that parse and dispatch (options.c, command.c). */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "exits.h"
#include "say.h"

static const struct {
    int status;
    const char *sentence;
} exits[] = {
#define X(name, number, sentence) {number, sentence},
    EXIT_STATUSES(X)
#undef X
};

static void put_option(FILE *to, const struct option_row *row) {
    char left[64];

    if (row->letter)
        snprintf(left, sizeof left, "-%c, --%s%s%s", row->letter, row->name,
                 row->argument ? " " : "", row->argument ? row->argument : "");
    else
        snprintf(left, sizeof left, "    --%s%s%s", row->name, row->argument ? " " : "",
                 row->argument ? row->argument : "");
    fprintf(to, "  %-28s %s\n", left, row->help);
}

static void put_options(FILE *to, const struct command *command) {
    fputs("\nOptions:\n", to);
    for (int i = 0; i < OPTIONS; i++)
        if (option_rows[i].commands & command->bit)
            put_option(to, &option_rows[i]);
}

static void put_command(FILE *to, const struct command *command) {
    fprintf(to, "Usage: vlock %s [OPTION...] %s\n\n", command->name, command->operands);
    fprintf(to, "%s.\n%s%s", command->summary, *command->text ? "\n" : "", command->text);
    put_options(to, command);
}

static void put_overview(FILE *to) {
    fputs("Usage: vlock COMMAND [OPTION...] NAME ...\n\n"
          "Locks for scripts: on Valkey, on Redis, or on this machine.\n\nCommands:\n",
          to);
    for (unsigned i = 0; i < command_count; i++)
        fprintf(to, "  %-28s %s\n", command_rows[i].name, command_rows[i].summary);
    fputs("\n'vlock help COMMAND' explains a command and its options. DUR is a number with ms, s, "
          "m,\nh or d: 500ms, 1.5s, 90 (seconds), 1h30m.\n\nExit statuses:\n",
          to);
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++)
        fprintf(to, "  %3d  %s\n", exits[i].status, exits[i].sentence);
    fputs("128+N  signal N ended the command, or the wait\n", to);
}

/* `vlock help X`, or `vlock X --help`. */
static const char *about(const struct options *options) {
    if (options->value[OPT_HELP])
        return options->command;
    return options->operand_count ? options->operands[0] : NULL;
}

int cmd_help(const struct options *options, const struct child_found *found) {
    const char *name = about(options);
    const struct command *command = name ? command_find(name) : NULL;
    struct say say = {0};
    struct trouble why = {0};

    if (name && !command) {
        trouble_say(&why, FAILED, EXIT_USAGE, "unknown command '%s': see 'vlock help'", name);
        say_trouble(&say, &why);
        return EXIT_USAGE;
    }
    if (command)
        put_command(stdout, command);
    else
        put_overview(stdout);
    if (fflush(stdout) == 0 && !ferror(stdout) && !found->closed[1])
        return EXIT_DONE;
    trouble_say(&why, FAILED, EXIT_CANNOT_WRITE, "cannot write to stdout");
    say_trouble(&say, &why);
    return EXIT_CANNOT_WRITE;
}

/* main.c - which command, and what the shell is told when that cannot even be found out. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "options.h"
#include "say.h"
#include "text.h"
#include "trouble.h"

/* Which command the arguments name. NULL with the sentence in `why`. */
static const struct command *choose(const struct options *options, struct trouble *why) {
    const struct command *command;

    if (options->value[OPT_HELP] && !options->command)
        return command_find("help");
    if (!options->command) {
        trouble_say(why, FAILED, EXIT_USAGE, "no command: see 'vlock help'");
        return NULL;
    }
    command = command_find(options->command);
    if (!command) {
        trouble_say(why, FAILED, EXIT_USAGE, "unknown command '%s': see 'vlock help'",
                    options->command);
        return NULL;
    }
    if (options->value[OPT_HELP])
        return command_find("help");
    if (options_check(options, command->name, command->bit, why) != DONE)
        return NULL;
    if (options->operand_count < command->least || options->operand_count > command->most) {
        trouble_say(why, FAILED, EXIT_USAGE, "usage: vlock %s [OPTION...] %s", command->name,
                    command->operands);
        return NULL;
    }
    if (command->bit == FOR_RUN && (!options->run || !*options->run)) {
        trouble_say(why, FAILED, EXIT_USAGE,
                    "no command to run: vlock run [OPTION...] [NAME] -- CMD [ARG...]");
        return NULL;
    }
    return command;
}

/* `eval "$(vlock acquire --format shell ...)"` must fail when vlock does, even when the command
 * line was not understood: whatever looks like that format gets its "(exit N)". */
static bool wants_shell(char **argv) {
    for (; *argv && strcmp(*argv, "--") != 0; argv++)
        if (text_begins(*argv, "--format=shell") ||
            (strcmp(*argv, "--format") == 0 && (!argv[1] || text_begins(argv[1], "shell"))))
            return true;
    return false;
}

static int refuse(bool shell, const struct trouble *why) {
    struct say say = {0};

    say_trouble(&say, why);
    if (shell)
        printf("(exit %d)\n", (int)why->status);
    return (int)why->status;
}

static int version(const struct child_found *found) {
    puts("vlock " VLOCK_VERSION);
    return fflush(stdout) == 0 && !ferror(stdout) && !found->closed[1] ? EXIT_DONE
                                                                       : EXIT_CANNOT_WRITE;
}

static int run(char **argv, const struct child_found *found) {
    const struct command *command;
    bool shell = wants_shell(argv);
    struct options options;
    struct trouble why = {0};

    if (options_parse(*argv ? argv + 1 : argv, &options, &why) != DONE)
        return refuse(shell, &why);
    if (options.value[OPT_VERSION])
        return version(found);
    command = choose(&options, &why);
    return command ? command->run(&options, found) : refuse(shell, &why);
}

int main(int argc, char **argv) {
    struct child_found found;
    struct trouble why = {0};
    int status;

    (void)argc; /* argv ends with NULL, also where it is empty */
    child_found_take(&found, argv);
    if (found.title.argv) {
        status = run(argv, &found);
    } else {
        trouble_say(&why, FAILED, EXIT_SYSTEM, "out of memory");
        status = refuse(wants_shell(argv), &why);
    }
    child_found_free(&found);
    return status;
}

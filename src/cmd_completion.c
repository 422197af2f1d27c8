/* vlock completion: scripts for the shells, made from the tables that parse and dispatch.
 * completions/ holds what this prints; tests/agreement.bats compares the two. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "exits.h"
#include "say.h"

static bool is_file(const struct option_row *row) {
    return row->argument && (strcmp(row->argument, "F") == 0 || strcmp(row->argument, "FILE") == 0);
}

/* Text between single quotes, for bash, zsh and fish alike where it holds no single quote. */
static void put_plain(const char *text) {
    for (; *text; text++)
        putchar(strchr("'[]:\\", *text) ? ' ' : *text);
}

static void bash_words(unsigned command) {
    for (int i = 0; i < OPTIONS; i++)
        if (option_rows[i].commands & command)
            printf(" --%s", option_rows[i].name);
}

static void bash_values(void) {
    fputs("    case $prev in\n", stdout);
    for (int i = 0; i < OPTIONS; i++) {
        const struct option_row *row = &option_rows[i];
        if (!row->argument)
            continue;
        if (row->letter)
            printf("    -%c|--%s)", row->letter, row->name);
        else
            printf("    --%s)", row->name);
        if (row->choices)
            printf(" mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\");", row->choices);
        else if (is_file(row))
            fputs(" mapfile -t COMPREPLY < <(compgen -f -- \"$cur\");", stdout);
        fputs(" return ;;\n", stdout);
    }
    fputs("    esac\n", stdout);
}

static void put_bash(void) {
    fputs(
        "# bash completion for vlock: made by 'vlock completion bash'\n"
        "_vlock() {\n"
        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' word\n"
        "    COMPREPLY=()\n"
        "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
        "        case $word in\n        ",
        stdout);
    for (unsigned i = 0; i < command_count; i++)
        printf("%s%s", i ? "|" : "", command_rows[i].name);
    fputs(") command=$word; break ;;\n        esac\n    done\n", stdout);
    bash_values();
    fputs("    case $command in\n", stdout);
    for (unsigned i = 0; i < command_count; i++) {
        printf("    %s) word='", command_rows[i].name);
        if (command_rows[i].bit == FOR_COMPLETION)
            fputs("bash zsh fish", stdout);
        bash_words(command_rows[i].bit);
        fputs("' ;;\n", stdout);
    }
    fputs("    *) word='", stdout);
    for (unsigned i = 0; i < command_count; i++)
        printf("%s ", command_rows[i].name);
    fputs("--help --version' ;;\n    esac\n"
          "    [[ $command == help ]] && word+=' ",
          stdout);
    for (unsigned i = 0; i < command_count; i++)
        printf("%s%s", i ? " " : "", command_rows[i].name);
    fputs("'\n    mapfile -t COMPREPLY < <(compgen -W \"$word\" -- \"$cur\")\n"
          "}\ncomplete -o default -F _vlock vlock\n",
          stdout);
}

/* A bare colon would end them. */
static void zsh_choices(const char *choices) {
    putchar('(');
    for (; *choices; choices++)
        printf("%s%c", *choices == ':' ? "\\" : "", *choices);
    putchar(')');
}

static void zsh_option(const struct option_row *row) {
    fputs("            ", stdout);
    if (row->letter)
        printf("{-%c,--%s}", row->letter, row->name);
    else
        printf("--%s", row->name);
    fputs("'[", stdout);
    put_plain(row->help);
    putchar(']');
    if (row->argument)
        printf(":%s:", row->argument);
    if (row->choices)
        zsh_choices(row->choices);
    else if (is_file(row))
        fputs("_files", stdout);
    fputs("' \\\n", stdout);
}

static void zsh_command(const struct command *command) {
    printf("        %s)\n            _arguments -s \\\n", command->name);
    for (int i = 0; i < OPTIONS; i++)
        if (option_rows[i].commands & command->bit)
            zsh_option(&option_rows[i]);
    if (command->bit == FOR_COMPLETION)
        fputs("            '1:shell:(bash zsh fish)' ;;\n", stdout);
    else if (command->bit == FOR_HELP)
        fputs("            '1:command:->commands' ;;\n", stdout);
    else if (command->bit == FOR_RUN)
        fputs("            '1:name:' '*::command:_normal' ;;\n", stdout);
    else
        fputs("            '1:name:' '*:: :_default' ;;\n", stdout);
}

static void put_zsh(void) {
    fputs("#compdef vlock\n# zsh completion for vlock: made by 'vlock completion zsh'\n"
          "_vlock() {\n"
          "    local curcontext=$curcontext state line\n"
          "    local -a commands=(\n",
          stdout);
    for (unsigned i = 0; i < command_count; i++) {
        printf("        '%s:", command_rows[i].name);
        put_plain(command_rows[i].summary);
        fputs("'\n", stdout);
    }
    fputs("    )\n    _arguments -C '--help[print this help]' '--version[print the version]' \\\n"
          "        '1:command:->commands' '*::argument:->arguments'\n"
          "    case $state in\n"
          "    commands) _describe command commands ;;\n"
          "    arguments)\n        case $line[1] in\n",
          stdout);
    for (unsigned i = 0; i < command_count; i++)
        zsh_command(&command_rows[i]);
    fputs("        esac\n        [[ $state == commands ]] && _describe command commands ;;\n"
          "    esac\n}\n"
          "if [[ $funcstack[1] == _vlock ]]; then _vlock \"$@\"; else compdef _vlock vlock; fi\n",
          stdout);
}

static void fish_option(const struct command *command, const struct option_row *row) {
    printf("complete -c vlock -n '__fish_seen_subcommand_from %s'", command->name);
    if (row->letter)
        printf(" -s %c", row->letter);
    printf(" -l %s", row->name);
    if (row->argument)
        fputs(is_file(row) ? " -rF" : " -x", stdout);
    if (row->choices)
        printf(" -a '%s'", row->choices);
    fputs(" -d '", stdout);
    put_plain(row->help);
    fputs("'\n", stdout);
}

static void put_fish(void) {
    fputs("# fish completion for vlock: made by 'vlock completion fish'\n"
          "complete -c vlock -f\n",
          stdout);
    for (unsigned i = 0; i < command_count; i++) {
        printf("complete -c vlock -n __fish_use_subcommand -a %s -d '", command_rows[i].name);
        put_plain(command_rows[i].summary);
        fputs("'\n", stdout);
    }
    for (unsigned i = 0; i < command_count; i++)
        for (int j = 0; j < OPTIONS; j++)
            if (option_rows[j].commands & command_rows[i].bit)
                fish_option(&command_rows[i], &option_rows[j]);
    fputs("complete -c vlock -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n",
          stdout);
    fputs("complete -c vlock -n '__fish_seen_subcommand_from help' -a '", stdout);
    for (unsigned i = 0; i < command_count; i++)
        printf("%s%s", i ? " " : "", command_rows[i].name);
    fputs("'\n", stdout);
}

int cmd_completion(const struct options *options, const struct child_found *found) {
    const char *shell = options->operands[0];
    struct say say = {0};
    struct trouble why = {0};

    if (strcmp(shell, "bash") == 0)
        put_bash();
    else if (strcmp(shell, "zsh") == 0)
        put_zsh();
    else if (strcmp(shell, "fish") == 0)
        put_fish();
    else
        trouble_say(&why, FAILED, EXIT_USAGE, "no completion for '%s': use bash, zsh or fish",
                    shell);
    if (why.status == EXIT_DONE && (fflush(stdout) != 0 || ferror(stdout) || found->closed[1]))
        trouble_say(&why, FAILED, EXIT_CANNOT_WRITE, "cannot write to stdout");
    if (why.status != EXIT_DONE)
        say_trouble(&say, &why);
    return (int)why.status;
}

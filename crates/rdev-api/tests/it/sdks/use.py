"""Uses the client that openapi-python-client makes of the document: submits, follows, cancels and pages."""

import sys

from rdev_api_client import AuthenticatedClient
from rdev_api_client.api.commands import cancel_command, get_command, get_output, list_commands, run_git, run_shell
from rdev_api_client.models import DataAccepted, DataCommand, ErrorBody, GitBody, ListCommand, ShellBody


def main(url: str, key: str) -> None:
    client = AuthenticatedClient(base_url=url, token=key)
    ran = run_shell.sync("demo", client=client, body=ShellBody(command="echo out"))
    assert isinstance(ran, DataAccepted), ran
    ended = get_command.sync("demo", ran.data.id, client=client, wait=30)
    assert isinstance(ended, DataCommand), ended
    print(ended.data.type_, ended.data.status)
    print(get_output.sync_detailed("demo", ran.data.id, client=client).content.decode(), end="")
    git = run_git.sync("demo", client=client, body=GitBody(args=["version"]))
    assert isinstance(git, DataAccepted), git
    get_command.sync("demo", git.data.id, client=client, wait=30)
    cancelled = cancel_command.sync("demo", git.data.id, client=client)
    assert isinstance(cancelled, DataCommand), cancelled
    print("cancelled", cancelled.data.status)
    first = list_commands.sync("demo", client=client, limit=1)
    assert isinstance(first, ListCommand) and first.meta.next_cursor, first
    second = list_commands.sync("demo", client=client, limit=1, cursor=first.meta.next_cursor)
    assert isinstance(second, ListCommand), second
    print("pages", *[command.type_ for command in first.data + second.data])
    missing = get_command.sync("demo", "cmd-x", client=client)
    assert isinstance(missing, ErrorBody), missing
    print(missing.error.code)


main(sys.argv[1], sys.argv[2])

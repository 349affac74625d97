namespace Yarnish.Cli;

/// <summary>The exit codes of the tool, the same for every command.</summary>
internal static class ExitCodes
{
    public const int Success = 0;
    public const int ApplicationFailed = 1;
    public const int Usage = 2;
    public const int CannotBePlaced = 3;
    public const int NotFound = 4;
    public const int NoPermission = 5;
    public const int Unreachable = 6;
    public const int Timeout = 7;
    public const int Killed = 8;
    public const int Interrupted = 130;
}

/// <summary>An error that ends the command with an exit code and one message for people: what, where, why, what to do.</summary>
internal sealed class CommandException(int exitCode, string message) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
}

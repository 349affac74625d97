namespace Yarnish.NodeAgent.Node;

/// <summary>Exit codes of the agent, as those of the <c>yarnish</c> tool.</summary>
internal static class AgentExitCode
{
    /// <summary>Ended as told.</summary>
    public const int Success = 0;

    /// <summary>Failed in a way nobody foresaw.</summary>
    public const int Failed = 1;

    /// <summary>Bad options, or a directory or port that cannot be used.</summary>
    public const int Usage = 2;

    /// <summary>The cluster does not let this agent in: wrong secret, or refused.</summary>
    public const int NotPermitted = 5;
}

/// <summary>The agent cannot run: it ends with one message and an exit code.</summary>
internal sealed class AgentStartException(int exitCode, string message) : Exception(message)
{
    /// <summary>See <see cref="AgentExitCode"/>.</summary>
    public int ExitCode { get; } = exitCode;
}

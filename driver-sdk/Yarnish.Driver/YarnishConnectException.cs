namespace Yarnish;

/// <summary>
/// The session could not be opened: wrong settings, or the cluster cannot be reached or refuses. <see cref="Exception.Message"/> says what, where, why and what to do; it never
/// holds a secret.
/// </summary>
public sealed class YarnishConnectException : YarnishException
{
    /// <summary>With a message for people.</summary>
    public YarnishConnectException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }

    /// <summary>In the form of all errors of Yarnish.</summary>
    /// <param name="what">What could not be done, and where.</param>
    /// <param name="why">The reason.</param>
    /// <param name="cure">What to do.</param>
    /// <param name="inner">The exception behind it.</param>
    /// <param name="exitCode">See <see cref="YarnishException.ExitCode"/>; 6 when the cluster cannot be reached or used.</param>
    internal static YarnishConnectException Because(string what, string why, string cure, Exception? inner = null, int exitCode = 6) =>
        new($"{what}\n  why:  {why}\n  cure: {cure}", inner) { ExitCode = exitCode };
}

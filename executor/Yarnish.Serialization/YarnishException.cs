namespace Yarnish;

/// <summary>
/// What goes wrong with a program and its jobs: catch it around the whole program, print <see cref="Exception.Message"/> (it says what, where, why and what to do) and end with
/// <see cref="ExitCode"/>. An input path that names nothing is a <see cref="FileNotFoundException"/>, as everywhere in .NET.
/// </summary>
public abstract class YarnishException : Exception
{
    /// <summary>With a message for people.</summary>
    protected YarnishException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }

    /// <summary>
    /// The exit code for a program that ends because of this; those of the <c>yarnish</c> tool: 1 (default) failed, 2 wrong settings, 3 cannot be placed, 5 no permission,
    /// 6 cluster cannot be reached, 8 killed.
    /// </summary>
    public int ExitCode { get; init; } = 1;
}

namespace Yarnish.Serialization;

/// <summary>A function was serialized by other code than this process has: another build, a changed file, or a type that may not be named. Nothing of it was run.</summary>
public sealed class CodeIdentityException : Exception
{
    /// <summary>With a message for people.</summary>
    public CodeIdentityException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

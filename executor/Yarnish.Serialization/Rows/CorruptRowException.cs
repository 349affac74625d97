namespace Yarnish.Serialization;

/// <summary>Bytes are not rows of the expected type: damaged, cut short, or written by other code.</summary>
public sealed class CorruptRowException : Exception
{
    /// <summary>With a message for people.</summary>
    public CorruptRowException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }

    internal static CorruptRowException At(Type row, int position, int length, Exception inner) => new(
        $"The bytes from {position} on, of {length}, are not a row of type {TypeNames.Of(row)}: they are damaged, cut short, or were written by other code ({inner.Message.TrimEnd('.')}). "
        + "Compute the partition again; if it happens again, driver and executor run different builds of the application.",
        inner);
}

namespace Yarnish.Blocks;

/// <summary>A block, or the map output it belongs to, is not there.</summary>
public sealed class BlockMissingException : IOException
{
    /// <summary>With a message that names the block and where it was looked for.</summary>
    public BlockMissingException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>A block is there, but its bytes are not those that were written: truncated, or a checksum differs.</summary>
public sealed class BlockCorruptException : IOException
{
    /// <summary>With a message that names the block and what is wrong.</summary>
    public BlockCorruptException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>A fetch request is malformed or exceeds its bounds: the server answers 400 with the message.</summary>
public sealed class BlockRequestException : Exception
{
    /// <summary>With a message for the requester.</summary>
    public BlockRequestException(string message)
        : base(message)
    {
    }
}

/// <summary>A named block could be had from no holder, and its origin did not give it either.</summary>
public sealed class BlockUnavailableException : Exception
{
    /// <summary>With a message that names the block and what was tried.</summary>
    public BlockUnavailableException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

namespace Yarnish;

/// <summary>What saving does when its target has content already.</summary>
public enum SaveMode
{
    /// <summary>It fails before anything is computed; the default.</summary>
    ErrorIfExists,

    /// <summary>The new content takes the place of the old when it is complete, at once; until then, and whenever the job fails, the old content stays.</summary>
    Overwrite,

    /// <summary>The new files are put beside the old ones, under names of their own.</summary>
    Append,

    /// <summary>It does nothing, not even compute the rows.</summary>
    Ignore,
}

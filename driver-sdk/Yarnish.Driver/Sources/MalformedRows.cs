namespace Yarnish;

/// <summary>What a source does with a piece of its input that is no row.</summary>
public enum MalformedRows
{
    /// <summary>The task fails, and after its retries the job: the error names the file, the place and the text.</summary>
    Fail,

    /// <summary>
    /// It is left out and counted: in the metrics of the stage (<c>skippedRows</c>), and with the first example of each file in the executor's log. What hides an unknown number of rows,
    /// such as a quote that is never closed, fails all the same.
    /// </summary>
    Skip,
}

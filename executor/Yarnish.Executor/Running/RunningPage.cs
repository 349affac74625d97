using System.IO.MemoryMappedFiles;
using Microsoft.Extensions.Logging;
using Yarnish.Protocol;

namespace Yarnish.Executor;

/// <summary>
/// Which attempt each slot runs, in memory that outlives the process: see <see cref="PostMortemPage"/>. A task that kills its executor between two beats is found by it. A note is one store into the page.
/// </summary>
internal sealed class RunningPage : IDisposable
{
    private readonly MemoryMappedFile? file;
    private readonly MemoryMappedViewAccessor? view;
    private readonly int slots;

    /// <param name="path">The file; empty for none, such as embedded, where executor and driver die together.</param>
    /// <param name="slots">How many slots there are.</param>
    /// <param name="logger">Told when the file cannot be written; tasks run all the same.</param>
    public RunningPage(string path, int slots, ILogger logger)
    {
        if (path.Length == 0)
        {
            return;
        }
        try
        {
            var length = PostMortemPage.LengthOf(slots);
            // Filled before it is mapped: a full disk shows here as an exception, not later as a fault.
            var blank = new byte[length];
            PostMortemPage.Magic.CopyTo(blank);
            File.WriteAllBytes(path, blank);
            file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, mapName: null, length, MemoryMappedFileAccess.ReadWrite);
            view = file.CreateViewAccessor(0, length, MemoryMappedFileAccess.ReadWrite);
            this.slots = Math.Min(slots, PostMortemPage.MaximumSlots);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Dispose();
            logger.LogWarning("What runs cannot be noted in {Path}; a task that kills this executor is then found by the order of sending: {Problem}", path, error.Message);
        }
    }

    /// <summary>The slot runs this attempt from now on.</summary>
    public void Start(int slot, TaskAttemptId attempt) => Note(slot, attempt.Value);

    /// <summary>The slot runs nothing.</summary>
    public void End(int slot) => Note(slot, 0);

    /// <inheritdoc/>
    public void Dispose()
    {
        view?.Dispose();
        file?.Dispose();
    }

    private void Note(int slot, long number)
    {
        if (slot < slots)
        {
            view!.Write(PostMortemPage.HeaderBytes + (8L * slot), number);
        }
    }
}
